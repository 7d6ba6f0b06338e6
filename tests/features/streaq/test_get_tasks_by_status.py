"""``worker.get_tasks_by_status(TaskStatus.RUNNING, limit=10)``: the tasks in a state, 100 at most."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_page_of_each_state_can_be_asked_for(place: Place) -> None:
    worker = place.worker(priorities=["low", "high"])
    began, proceed = anyio.Event(), anyio.Event()

    @worker.task
    async def wait() -> None:
        began.set()
        await proceed.wait()

    @worker.task
    async def note(number: int) -> int:
        return number

    async def ids(status: TaskStatus, **options: Any) -> set[str]:
        return {row.task_id for row in await worker.get_tasks_by_status(status, **options)}

    async with worker:
        low, high = [note.enqueue(n) for n in range(3)], [note.enqueue(n).start(priority="high") for n in range(2)]
        later = note.enqueue(0).start(delay=60)
        await worker.enqueue_many([*low, *high, later])
        assert await ids(TaskStatus.QUEUED) == {task.id for task in [*low, *high]}
        assert await ids(TaskStatus.QUEUED, priority="high") == {task.id for task in high}
        assert len(await ids(TaskStatus.QUEUED, limit=4)) == 4
        assert await ids(TaskStatus.SCHEDULED) == {later.id}
        assert await ids(TaskStatus.RUNNING) == await ids(TaskStatus.DONE) == set()
    async with running(worker):
        running_task = await wait.enqueue()
        await began.wait()
        assert await ids(TaskStatus.RUNNING, limit=10) == {running_task.id}
        for task in (*low, *high):
            await task.result(timeout=PATIENCE)
        assert await ids(TaskStatus.DONE) == {task.id for task in [*low, *high]}
        proceed.set()


async def test_a_page_has_a_hundred_rows_unless_it_is_told(place: Place) -> None:
    async with place.worker() as worker:
        await worker.enqueue_many([worker.enqueue_by_name("note", number) for number in range(130)])
        assert len(await worker.get_tasks_by_status(TaskStatus.QUEUED)) == 100
        assert len(await worker.get_tasks_by_status(TaskStatus.QUEUED, limit=500)) == 130
