"""A heartbeat monitor for abandoned jobs. ⚠ In SAQ a job must send the heartbeat itself; here its worker does.

A job that takes longer than ``idle_timeout`` goes on undisturbed and calls nothing; the job of a worker that is gone is
run by another.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_a_long_job_that_calls_nothing_is_not_taken_for_abandoned(place: Place) -> None:
    worker, other = place.worker(idle_timeout=1), place.worker(idle_timeout=1)
    runs: list[str] = []

    def declare(one: Worker[Any]) -> None:
        @one.task(name="long")
        async def long() -> int:
            runs.append(one.id)
            await anyio.sleep(1.6)  # longer than a lease
            return long.context.tries

    for each in (worker, other):
        declare(each)
    async with running(worker), running(other):
        outcome = await (await worker.enqueue_by_name("long")).result(timeout=PATIENCE)
    assert (outcome.result, len(runs)) == (1, 1)


async def test_an_abandoned_job_is_run_by_another_worker() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET, idle_timeout=30)

    @worker.task
    async def tries() -> int:
        return tries.context.tries

    async with TestWorker(worker) as queue:
        task = await tries.enqueue()
        await queue.lose_worker()
        await queue.advance(seconds=30)
        assert (await task.result()).result == 2
