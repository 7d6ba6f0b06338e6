"""``shutdown_grace_period_s`` and ``cancellation_hard_deadline_s``: time to end, then a cancellation, then an end anyhow."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_each_running_job_has_its_time_and_is_cancelled_then(place: Place) -> None:
    worker = place.worker(grace_period=0.3)
    told: list[str] = []
    began = [anyio.Event(), anyio.Event()]

    @worker.task
    async def job(seconds: float) -> None:
        began[seconds > 1].set()
        try:
            await anyio.sleep(seconds)
            told.append("ended")
        except BaseException:
            told.append("cancelled")
            raise

    async with worker:
        short, long = await job.enqueue(0.05), await job.enqueue(3600)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                await group.start(worker.run_async)
                for event in began:
                    await event.wait()
                worker.drain()
        assert told == ["ended", "cancelled"]
        assert (await short.result(timeout=PATIENCE)).success
        assert await long.status() is TaskStatus.QUEUED


async def test_a_job_that_ignores_its_cancellation_does_not_hold_the_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.execution.engine.CANCEL_S", 0.05)
    worker = place.worker(grace_period=0)
    began, proceed = anyio.Event(), anyio.Event()
    worker.when_stuck = proceed.set  # the command line ends the process then

    @worker.task
    async def stubborn() -> None:
        began.set()
        with anyio.CancelScope(shield=True):
            await proceed.wait()

    async with worker:
        task = await stubborn.enqueue()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                await group.start(worker.run_async)
                await began.wait()
                worker.drain()
        assert proceed.is_set()
        assert await task.status() is TaskStatus.QUEUED
