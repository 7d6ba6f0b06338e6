"""``timeout``, a timedelta: it is a reason to try again, and a worker that is gone gives its jobs to another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_a_run_that_takes_too_long_is_ended_and_tried_again(place: Place) -> None:
    worker = place.worker()

    @worker.actor(timeout=timedelta(milliseconds=50), retry_timeouts=True, retry_policy=AT_ONCE)
    async def slow_at_first() -> int:
        if slow_at_first.context.tries == 1:
            await anyio.sleep_forever()
        return slow_at_first.context.tries

    async with running(worker):
        assert (await (await slow_at_first.enqueue()).result(timeout=PATIENCE)).result == 2


async def test_the_job_of_a_worker_that_disconnected_does_not_wait_for_its_timeout() -> None:
    """⚠ There it is the timeout, ten minutes by default, that says when; here it is the lease, a minute."""
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)

    @worker.actor(timeout=timedelta(minutes=10))
    async def job() -> int:
        return job.context.tries

    async with TestWorker(worker) as queue:
        task = await job.enqueue()
        await queue.lose_worker()
        await queue.advance(minutes=1)
        assert (await task.result()).result == 2
