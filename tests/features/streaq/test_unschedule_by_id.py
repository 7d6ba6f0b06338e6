"""``worker.unschedule_by_id(id)`` removes a schedule. ⚠ In streaQ a single ``await`` writes none: the task runs once.

``await task.start(schedule="* * * * *")`` stores it here, it fires again and again, and whoever has its id removes it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from secure_queue import TaskStatus, Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET, Place

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_one_await_repeats_a_call_until_it_is_removed_by_its_id() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)
    ran: list[str] = []

    @worker.task
    async def tick(word: str) -> None:
        ran.append(word)

    async with TestWorker(worker, now=START) as queue:
        task = await tick.enqueue("tick").start(schedule="* * * * *")
        assert await worker.status_by_id(task.id) is TaskStatus.SCHEDULED
        await queue.advance(minutes=3, seconds=1)
        assert ran == ["tick"] * 3
        assert await worker.unschedule_by_id(task.id) is True
        await queue.advance(minutes=3)
        assert ran == ["tick"] * 3
        assert await worker.unschedule_by_id(task.id) is False


async def test_another_process_removes_it(place: Place) -> None:
    async with place.worker() as worker, place.worker() as elsewhere:
        task = await worker.enqueue_by_name("tick").start(schedule="0 3 * * *")
        assert [row.schedule_id for row in await elsewhere.schedules()] == [task.id]
        assert await elsewhere.unschedule_by_id(task.id) is True
        assert await task.unschedule() is False
        assert await worker.schedules() == []
