"""⚠ In streaQ the value that ``A | B`` hands over lives for five minutes; if B starts later, its worker ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue import TaskStatus, Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("ttl", [300, 0])
async def test_a_value_waits_for_its_task_as_long_as_that_waits(ttl: int) -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)

    @worker.task(ttl=ttl)
    async def first(number: int) -> int:
        return number + 1

    @worker.task
    async def slow() -> None: ...

    @worker.task(ttl=None)
    async def last(number: int) -> int:
        return 10 * number

    async with TestWorker(worker, now=START) as queue:
        other = slow.enqueue().start(delay=timedelta(minutes=20))
        chain = await (first.enqueue(3) | last).start(after=other)
        await queue.drain()
        queue.clock.move(minutes=19)
        await queue.drain()
        assert await chain.status() is TaskStatus.SCHEDULED
        queue.clock.move(minutes=1)
        await queue.drain()
        assert (await chain.result()).result == 40
