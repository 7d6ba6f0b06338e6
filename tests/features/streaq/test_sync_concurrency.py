"""``sync_concurrency``: how many sync tasks run in threads at once; as many as ``concurrency`` by default."""

from __future__ import annotations

import threading

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_sync_tasks_have_a_limit_of_their_own(place: Place) -> None:
    worker = place.worker(concurrency=4, sync_concurrency=1)
    lock, at_once, most = threading.Lock(), 0, 0
    began, proceed = anyio.Event(), threading.Event()

    @worker.task
    def in_a_thread() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        anyio.from_thread.run_sync(began.set)
        proceed.wait(PATIENCE)
        with lock:
            at_once -= 1

    @worker.task
    async def in_the_loop() -> str:
        return "beside"

    async with running(worker):
        tasks = [in_a_thread.enqueue() for _ in range(3)]
        await worker.enqueue_many(tasks)
        await began.wait()
        assert (await (await in_the_loop.enqueue()).result(timeout=PATIENCE)).result == "beside"
        proceed.set()
        for task in tasks:
            assert (await task.result(timeout=PATIENCE)).success
    assert most == 1


def test_it_follows_concurrency_by_default() -> None:
    assert Worker("memory://", concurrency=5)._settings.sync_concurrency == 5
