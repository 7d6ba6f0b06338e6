"""Cancelled is not failed: a deployment that stops a worker in the middle of a job costs the job nothing."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskContext, TaskOutcome, TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_job_that_a_redeployment_interrupts_runs_again_as_if_for_the_first_time(place: Place) -> None:
    worker, ended = place.worker(grace_period=0), list[bool]()
    began = anyio.Event()

    @worker.task(max_tries=1)
    async def job() -> int:
        if not began.is_set():
            began.set()
            await anyio.sleep_forever()
        return job.context.tries

    @worker.after_process
    def note(context: TaskContext, outcome: TaskOutcome) -> None:
        ended.append(outcome.success)

    async with worker:
        task = await job.enqueue()
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            await began.wait()
            worker.drain()
        assert await task.status() is TaskStatus.QUEUED
        assert (await worker.counts()).dead == 0
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == 1
