"""``secure-queue run``: runs tasks, in this process or in several that a supervisor keeps alive."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import anyio
import typer

from secure_queue.background import beside
from secure_queue.cli.output import fail
from secure_queue.cli.supervisor import CANNOT_RUN, Supervisor, reloader
from secure_queue.cli.target import Target, load_target
from secure_queue.collector import calm_collector
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.worker import Worker


def run(
    target: Target,
    processes: Annotated[int, typer.Option(min=1, max=256, help="How many worker processes run.")] = 1,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queue is empty.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a Python file below the current folder changes.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many tasks run at once in each process, instead of the worker's own.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything (DEBUG).")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only.")] = False,
    tied: Annotated[bool, typer.Option("--tied", hidden=True, help="End in peace when stdin ends.")] = False,
) -> None:
    """Run the tasks of TARGET until a signal comes.

    The first SIGINT or SIGTERM stops in peace: running tasks have their grace period. A second one stops at once. A
    server that cannot be reached is waited for. With several processes, one that dies is started again.

    Exit code 0: it ended as it was asked to. 2: TARGET cannot be run. Otherwise the worst code of the processes.
    """
    if burst and reload:
        raise ConfigurationError("--burst ends when the queue is empty and --reload never does; give one of them")
    _log_to_stderr(verbose=verbose, quiet=quiet)
    if tied:
        _run_as_child(target, burst, concurrency)
        return
    if processes == 1 and not reload:
        _run_here(target, burst, concurrency, Worker.run_async)
        return
    words = [target, *_options(burst=burst, concurrency=concurrency, verbose=verbose, quiet=quiet)]
    changes = reloader() if reload else None
    # A bad target is told once, and not by every process.
    from_file = changes is None and load_target(target).reads_keys_again
    supervisor = Supervisor(words, processes, restart=not burst, changes=changes, keys_from_file=from_file)
    code = anyio.run(supervisor.run)
    raise typer.Exit(code)


def _run_as_child(target: str, burst: bool, concurrency: int | None) -> None:
    """Under a supervisor; it must be able to tell a target that cannot be run from a task that ends the process."""
    try:
        _run_here(target, burst, concurrency, _run_tied)
    except SecureQueueError as error:
        fail(str(error), CANNOT_RUN)


def _run_here(target: str, burst: bool, concurrency: int | None, run: Callable[[Worker[Any]], Awaitable[None]]) -> None:
    worker = load_target(target)
    worker.burst = burst
    if concurrency is not None:
        worker.concurrency = concurrency
    worker.when_stuck = _leave_the_rest_behind
    with calm_collector():
        anyio.run(run, worker, backend=worker.anyio_backend, backend_options=worker.anyio_kwargs)
    if worker.left_behind:
        _leave_the_rest_behind()


async def _run_tied(worker: Worker[Any]) -> None:
    """Run until stdin ends: the supervisor holds the other end, so that its death, even by SIGKILL, is noticed."""
    async with beside(partial(_drain_at_end_of_input, worker)):
        await worker.run_async()


async def _drain_at_end_of_input(worker: Worker[Any]) -> None:
    await anyio.wait_readable(0)  # nothing is ever written
    worker.drain()


def _leave_the_rest_behind() -> None:
    """End the process now, when everything is settled: what ignores its cancellation, in a thread or not, may never end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _options(*, burst: bool, concurrency: int | None, verbose: bool, quiet: bool) -> list[str]:
    flags = {"--burst": burst, "--verbose": verbose, "--quiet": quiet}
    words = [flag for flag, given in flags.items() if given]
    return words if concurrency is None else [*words, "--concurrency", str(concurrency)]


def _log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    if verbose and quiet:
        raise ConfigurationError("--verbose and --quiet contradict each other; give one of them")
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
