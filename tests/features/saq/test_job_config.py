"""``JobConfig(queue, key, timeout, heartbeat, retries, ttl, retry_delay, retry_backoff)``: every job may have its own.

⚠ In starlite-saqlalchemy the default of ``retry_delay`` is that of the ``ttl``: a failed job waits for ten minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from secure_queue import RetryPolicy, TaskStatus, Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_each_of_them_counts() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET, queue_name="configured")
    began: list[float] = []

    @worker.task(
        timeout=10, max_tries=3, ttl=600, retry_policy=RetryPolicy(base=1, factor=60, jitter=0), retry_timeouts=True
    )
    async def job() -> str:
        began.append((queue.clock.now - START).total_seconds())
        if job.context.tries < 3:
            raise LookupError
        return f"{job.context.task_id} {job.context.timeout:g} {job.context.max_tries} {job.context.ttl:g}"

    async with TestWorker(worker, now=START) as queue:
        task = await job.enqueue().start(id="report:7")
        await queue.finish()
        assert (await task.result()).result == "report:7 10 3 600"
        assert began == [0, 1, 61]
        await queue.advance(seconds=600)
        assert await task.status() is TaskStatus.DONE
        await queue.advance(seconds=1)
        assert await task.status() is TaskStatus.NOT_FOUND


async def test_by_default_a_failed_job_is_tried_again_after_about_a_second() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)

    @worker.task
    async def flaky() -> int:
        if flaky.context.tries == 1:
            raise LookupError
        return flaky.context.tries

    async with TestWorker(worker, now=START) as queue:
        task = await flaky.enqueue()
        assert await queue.drain() == {"retried": 1}
        await queue.advance(seconds=1)
        assert (await task.result()).result == 2
