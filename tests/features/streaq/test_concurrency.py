"""``concurrency``: how many tasks run at once; 16 by default."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_so_many_tasks_run_at_once_and_no_more(place: Place) -> None:
    worker = place.worker(concurrency=3)
    at_once, most = 0, 0
    full, proceed = anyio.Event(), anyio.Event()

    @worker.task
    async def wait() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:
            full.set()
        await proceed.wait()
        at_once -= 1

    async with running(worker):
        tasks = [wait.enqueue() for _ in range(12)]
        await worker.enqueue_many(tasks)
        await full.wait()
        proceed.set()
        for task in tasks:
            assert (await task.result(timeout=PATIENCE)).success
    assert most == 3


def test_it_is_16_by_default() -> None:
    assert Worker("memory://").concurrency == 16
