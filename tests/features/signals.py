"""What signals do to a worker: whom they reach, and that its work comes to an end first."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from secure_queue import Worker
from tests.servers import PATIENCE

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


@contextmanager
def heard_by_the_host() -> Iterator[list[int]]:
    """What the host's own handlers receive; at the end they must be where they were."""
    numbers: list[int] = []
    note: Callable[..., None] = lambda number, _: numbers.append(number)  # noqa: E731
    before = {number: signal.signal(number, note) for number in WATCHED}
    yield numbers
    for number, handler in before.items():
        assert signal.getsignal(number) is note, "a worker has not put it back"
        signal.signal(number, handler)


async def ends_in_peace(worker: Worker[Any], *numbers: int) -> None:
    """Run *worker* until a task of it sends these signals to the process; the task must come to its end."""
    ended = list[str]()

    @worker.actor
    async def job() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
        await anyio.sleep(0.05)  # work that is left when the signal comes
        ended.append("the job")

    async with worker:
        await job.enqueue()
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
    assert ended == ["the job"]
