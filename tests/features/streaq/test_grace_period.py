"""``grace_period``: what running tasks have after SIGINT or SIGTERM; 25 seconds here, in streaQ none."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskStatus, Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_running_task_may_end_within_it(place: Place) -> None:
    worker = place.worker(grace_period=PATIENCE)

    @worker.task
    async def last_words() -> str:
        worker.drain()  # what the first signal does
        await anyio.sleep(0.05)  # work that is left when the end begins
        return "said"

    async with worker:
        task = await last_words.enqueue()
        await worker.run_async()
        assert (await task.result(timeout=PATIENCE)).result == "said"


async def test_without_it_a_running_task_is_cancelled_and_handed_back_without_using_a_try(place: Place) -> None:
    worker = place.worker(grace_period=0)
    began: list[int] = []

    @worker.task
    async def endless() -> int:
        began.append(endless.context.tries)
        if len(began) == 1:
            worker.drain()
            await anyio.sleep_forever()
        return endless.context.tries

    async with worker:
        task = await endless.enqueue()
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
        assert await task.status() is TaskStatus.QUEUED
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == 1
    assert began == [1, 1]


def test_it_is_25_seconds_by_default() -> None:
    assert Worker("memory://")._settings.grace_period_s == 25
