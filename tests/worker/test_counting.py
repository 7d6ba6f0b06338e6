"""How many tasks wait, and which: also those that stand behind others in the line of their key."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import TaskStatus, Worker
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def queued(worker: Worker[Any], step: int = 60) -> list[str]:
    """The ids of all that wait, page by page."""
    pages = [
        await worker.get_tasks_by_status(TaskStatus.QUEUED, offset=first, limit=step) for first in range(0, 300, step)
    ]
    return [row.task_id for page in pages for row in page]


@pytest.mark.parametrize("partitions", [1, 3])
async def test_all_that_wait_in_lines_are_counted_and_listed_once_until_they_run(place: Place, partitions: int) -> None:
    worker = place.worker(partitions=partitions, priorities=["low", "high"])

    @worker.task(fair_by="key")
    async def fair(key: str) -> None: ...

    @worker.task(order_by="key")
    async def in_order(key: str) -> None: ...

    async with worker:
        tasks = [fair.enqueue("large").start(priority="low" if one % 2 else "high") for one in range(200)]
        tasks += [in_order.enqueue(key) for key in "abcde" for _ in range(4)]
        await worker.enqueue_many(tasks)
        await fair.enqueue("late").start(delay=600)
        counts = await worker.counts()
        assert await worker.queue_size() == 221
        assert await worker.queue_size(include_scheduled=False) == counts.waiting == 220
        assert sum(counts.ready.values()) + sum(counts.in_lines.values()) == 220
        assert sum(counts.in_lines.values()) >= 200 - 16 + 15
        assert sorted(await queued(worker)) == sorted(task.id for task in tasks)
        assert {await task.status() for task in tasks[190:]} == {TaskStatus.QUEUED}
        assert await tasks[150].abort() and await tasks[0].abort()
        assert await worker.queue_size(include_scheduled=False) == 218
        worker.burst = True
        await worker.run_async()
        assert await worker.queue_size(include_scheduled=False) == 0
        assert await queued(worker) == []
        assert (await worker.counts()).results == 220
