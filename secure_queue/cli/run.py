"""``secure-queue run``: runs tasks, in this process or in several that a supervisor keeps alive."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import anyio
import typer

from secure_queue.background import beside
from secure_queue.cli.output import fail
from secure_queue.cli.supervisor import CANNOT_RUN, RECYCLED, Supervisor, reloader
from secure_queue.cli.target import load_target
from secure_queue.collector import calm_collector
from secure_queue.control import RunReport
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.health import address_of, tell_health
from secure_queue.names import printable
from secure_queue.serving import serve
from secure_queue.worker import Worker


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says about a run."""

    targets: Sequence[str]
    weights: tuple[int, ...] | None
    burst: bool
    concurrency: int | None
    max_tasks: int | None
    max_memory: int | None

    def words(self) -> list[str]:
        """The same for the command line of a child."""
        numbers = {
            "--concurrency": self.concurrency,
            "--max-tasks": self.max_tasks,
            "--max-memory": self.max_memory,
            "--weights": None if self.weights is None else ":".join(map(str, self.weights)),
        }
        given = [word for name, value in numbers.items() if value is not None for word in (name, str(value))]
        return [*self.targets, *(["--burst"] if self.burst else []), *given]


def run(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET",
            help="The worker object, as module:object; several of them share the seats, highest first.",
        ),
    ],
    processes: Annotated[int, typer.Option(min=1, max=256, help="How many worker processes run.")] = 1,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queue is empty.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a Python file below the current folder changes.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="How many tasks run at once in each process, instead of the worker's own.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="N:N", help="Shares of several TARGETs, as 3:1; else their order is strict.")
    ] = None,
    max_tasks: Annotated[int | None, typer.Option(min=1, help="End a process after so many tasks.")] = None,
    max_memory: Annotated[int | None, typer.Option(min=1, help="End a process with so many MiB of memory.")] = None,
    health: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Answer GET /health and /ready there; each process one port on."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything (DEBUG).")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only.")] = False,
    tied: Annotated[bool, typer.Option("--tied", hidden=True, help="End in peace when stdin ends.")] = False,
) -> None:
    """Run the tasks of TARGET until a signal comes.

    The first SIGINT or SIGTERM stops in peace: running tasks have their grace period. A second one stops at once. A
    server that cannot be reached is waited for. With several processes, one that dies is started again, and so is one that
    has done enough (--max-tasks, --max-memory); a single one ends then.

    Exit code 0: it ended as it was asked to. 2: TARGET cannot be run. Otherwise the worst code of the processes.
    """
    if burst and reload:
        raise ConfigurationError("--burst ends when the queue is empty and --reload never does; give one of them")
    _log_to_stderr(verbose=verbose, quiet=quiet)
    wishes = Wishes(targets, _weights(weights), burst, concurrency, max_tasks, max_memory)
    if tied:
        _run_as_child(wishes, health)
        return
    if processes == 1 and not reload:
        _run_here(wishes, health, tied=False)
        return
    flags = [word for word, given in {"--verbose": verbose, "--quiet": quiet}.items() if given]
    changes = reloader() if reload else None
    supervisor = Supervisor(
        [*wishes.words(), *flags],
        processes,
        restart=not burst,
        changes=changes,
        # A bad target is told once, and not by every process.
        keys_from_file=changes is None and any([load_target(target).reads_keys_again for target in targets]),
        words_of=partial(_health_of, health),
    )
    code = anyio.run(supervisor.run)
    raise typer.Exit(code)


def _weights(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(word) for word in text.split(":"))
    except ValueError:
        raise ConfigurationError(
            f"--weights {printable(text)!r} is no list of numbers; write for example 3:1"
        ) from None


def _health_of(health: str | None, place: int) -> Sequence[str]:
    """Each process listens at a port of its own."""
    if health is None:
        return ()
    host, port = address_of(health)
    return "--health", f"[{host}]:{port + place}" if ":" in host else f"{host}:{port + place}"


def _run_as_child(wishes: Wishes, health: str | None) -> None:
    """Under a supervisor; it must be able to tell a target that cannot be run from a task that ends the process."""
    try:
        _run_here(wishes, health, tied=True)
    except SecureQueueError as error:
        fail(str(error), CANNOT_RUN)


def _run_here(wishes: Wishes, health: str | None, *, tied: bool) -> None:
    workers = [load_target(target) for target in wishes.targets]
    for worker in workers:
        _prepare(worker, wishes)
    first = workers[0]
    with calm_collector():
        work = partial(_run, workers, wishes, health, tied)
        reports = anyio.run(work, backend=first.anyio_backend, backend_options=first.anyio_kwargs)
    code = RECYCLED if tied and any(report.has_done_enough for report in reports) else 0
    if any(worker.left_behind for worker in workers):
        _leave_the_rest_behind(code)
    if code:
        raise typer.Exit(code)


def _prepare(worker: Worker[Any], wishes: Wishes) -> None:
    worker.burst = wishes.burst
    worker.when_stuck = _leave_the_rest_behind
    if wishes.concurrency is not None:
        worker.concurrency = wishes.concurrency
    if wishes.max_tasks is not None:
        worker.messages_limit = wishes.max_tasks
    if wishes.max_memory is not None:
        worker.memory_limit = wishes.max_memory


async def _run(workers: Sequence[Worker[Any]], wishes: Wishes, health: str | None, tied: bool) -> Sequence[RunReport]:
    async with beside() as group:
        if tied:
            group.start_soon(_drain_at_end_of_input, workers)
        if health is not None:
            await group.start(tell_health, health, lambda: [worker.health() for worker in workers])
        if len(workers) == 1 and wishes.weights is None:
            return [await workers[0].run_async()]
        return await serve(*workers, weights=wishes.weights)


async def _drain_at_end_of_input(workers: Sequence[Worker[Any]]) -> None:
    """The supervisor holds the other end, so that its death, even by SIGKILL, is noticed."""
    await anyio.wait_readable(0)  # nothing is ever written
    for worker in workers:
        worker.drain()


def _leave_the_rest_behind(code: int = 0) -> None:
    """End the process now, when everything is settled: what ignores its cancellation, in a thread or not, may never end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    if verbose and quiet:
        raise ConfigurationError("--verbose and --quiet contradict each other; give one of them")
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
