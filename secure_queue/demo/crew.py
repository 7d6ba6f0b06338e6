"""The worker processes of the demo: started, watched and ended from here.

A worker gets its key through its standard input, so that it stands in no file and no command line. The input also ties
it to its parent: when it is closed, even because the parent was killed, the worker hands back what it runs and ends.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process

from secure_queue.demo.tasks import make_tasks
from secure_queue.errors import SecureQueueError

STOP_S = 15.0


class DemoFailed(SecureQueueError):
    """The demo could not go on; the message says at which point."""


@asynccontextmanager
async def crew(url: str, signing_secret: str, size: int, logs: Path) -> AsyncIterator[None]:
    """Run *size* worker processes for the time of the context.

    Raises ``DemoFailed`` (in a group) as soon as one ends by itself, or if one does not end well.
    """
    closing = anyio.Event()
    async with anyio.create_task_group() as watch:
        processes: list[Process] = []
        try:
            for number in range(size):
                log = logs / f"worker-{number}.log"
                processes.append(await _start(url, signing_secret, log))
                watch.start_soon(_see_end, processes[-1], closing, log)
            yield
        finally:
            closing.set()
            await _end(processes)


async def _start(url: str, signing_secret: str, log: Path) -> Process:
    with log.open("ab") as output:
        process = await anyio.open_process(
            [sys.executable, "-m", "secure_queue.demo.crew", url], stdout=output, stderr=output
        )
    if process.stdin is not None:
        await process.stdin.send(signing_secret.encode() + b"\n")
    return process


async def _see_end(process: Process, closing: anyio.Event, log: Path) -> None:
    code = await process.wait()
    if code != 0 or not closing.is_set():
        raise DemoFailed(f"a worker process ended with code {code}: {_last_words(log)}")


async def _end(processes: list[Process]) -> None:
    """Close the inputs and wait; what has not ended in time is killed."""
    with anyio.CancelScope(shield=True):
        for process in processes:
            if process.stdin is not None:
                await process.stdin.aclose()
        for process in processes:
            with anyio.move_on_after(STOP_S):
                await process.aclose()


def _last_words(log: Path) -> str:
    frame = " |+-"  # what Python draws around the tracebacks of a group
    lines = [line.strip(frame) for line in log.read_text("utf-8", "replace").splitlines() if line.strip(frame)]
    return lines[-1] if lines else "it wrote no log"


async def _work(url: str, signing_secret: str) -> None:
    worker = make_tasks(url, signing_secret).worker
    async with anyio.create_task_group() as group:
        group.start_soon(worker.run_async)
        await anyio.wait_readable(sys.stdin)
        worker.stop()  # not drain: that is forgotten by a worker that has not started yet


if __name__ == "__main__":
    anyio.run(_work, sys.argv[1], sys.stdin.readline().strip())
