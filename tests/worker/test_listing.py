"""What can be known about tasks: status, info, pages by state, counts."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskInfo, TaskResult, TaskStatus
from secure_queue.listing import BrokenTask
from tests.servers import PATIENCE
from tests.worker.places import PRIORITY, Place, running

pytestmark = pytest.mark.anyio


async def test_every_state_is_told(place: Place) -> None:
    worker = place.worker()
    started, proceed = anyio.Event(), anyio.Event()

    @worker.task(max_tries=1)
    async def act(what: str) -> str:
        if what == "fail":
            raise ValueError
        if what == "wait":
            started.set()
            await proceed.wait()
        return what

    async with worker:
        queued = await act.enqueue("queued")
        assert await queued.status() is TaskStatus.QUEUED
        scheduled = await act.enqueue("scheduled").start(delay=600)
        assert await scheduled.status() is TaskStatus.SCHEDULED
        aborted = await act.enqueue("aborted")
        await aborted.abort()
        unknown = act.enqueue("never enqueued")
        assert await unknown.status() is TaskStatus.NOT_FOUND
    async with running(worker):
        done, failed, waiting = await act.enqueue("done"), await act.enqueue("fail"), await act.enqueue("wait")
        await done.result(timeout=PATIENCE)
        await failed.result(timeout=PATIENCE)
        await started.wait()
        expected = {
            done: TaskStatus.DONE,
            failed: TaskStatus.FAILED,
            waiting: TaskStatus.RUNNING,
            aborted: TaskStatus.ABORTED,
            scheduled: TaskStatus.SCHEDULED,
        }
        for task, status in expected.items():
            assert await task.status() is status
            rows = await worker.get_tasks_by_status(status)
            assert task.id in [row.task_id for row in rows]
        assert await worker.get_tasks_by_status(TaskStatus.NOT_FOUND) == []
        counts = await worker.counts()
        assert (counts.running, counts.dead, counts.workers) == (1, 1, 1)
        assert await worker.queue_size() == 1
        assert await worker.queue_size(include_scheduled=False) == 0
        proceed.set()
        await waiting.result(timeout=PATIENCE)


async def test_info_tells_of_a_task_that_has_not_finished(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def work(a: int, *, b: str) -> None: ...

    async with worker:
        task = await work.enqueue(1, b="two").start(delay=600)
        info = await task.info()
        assert info is not None
        assert (info.task_id, info.fn_name, info.args, info.kwargs) == (task.id, work.fn_name, (1,), {"b": "two"})
        assert (info.tries, info.status) == (0, TaskStatus.SCHEDULED)
        assert info.scheduled is not None and 590_000 < info.scheduled.timestamp() * 1000 - info.created_time <= 601_000
        await task.abort()
        assert await task.info() is None
        assert await worker.info_by_id("unknown") is None


@pytest.mark.attack(28)
async def test_one_broken_of_a_hundred_is_one_row_that_says_so(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop(number: int) -> None: ...

    async with worker:
        tasks = [noop.enqueue(number) for number in range(100)]
        await worker.enqueue_many(tasks)
        broken = tasks[50].id.encode()
        await place.link.command("HSET", place.keys.bucket(broken), broken, b"x" * 200)
        rows = await worker.get_tasks_by_status(TaskStatus.QUEUED)
        assert [type(row) for row in rows] == [TaskInfo] * 50 + [BrokenTask] + [TaskInfo] * 49
        assert rows[50] == BrokenTask(tasks[50].id, "not-an-envelope")


async def test_broken_results_and_dead_letters_are_rows_too(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def act(fail: bool) -> None:
        if fail:
            raise ValueError

    async with running(worker):
        for fail, status in ((False, TaskStatus.DONE), (True, TaskStatus.FAILED)):
            good, bad = await act.enqueue(fail), await act.enqueue(fail)
            for task in (good, bad):
                await task.result(timeout=PATIENCE)
            await place.link.command("SET", place.keys.result(bad.id.encode()), b"")
            await place.link.command("HSET", place.keys.bucket(bad.id.encode()), f"!d{bad.id}", b"\xff" * 50)
            rows = {row.task_id: type(row) for row in await worker.get_tasks_by_status(status)}
            assert rows.get(good.id) is TaskResult
            assert rows.get(bad.id) in (BrokenTask, None if status is TaskStatus.DONE else BrokenTask)
        letters = {letter.task_id: letter for letter in await worker.dead_letters()}
        assert letters[bad.id] == BrokenTask(bad.id, "not-an-envelope")


async def test_hostile_ids_and_times_are_rows_too(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    async with worker:
        task = await noop.enqueue()
        far = await noop.enqueue().start(delay=600)
        await place.link.command("RPUSH", place.keys.ready[PRIORITY], b"\xff\n\x1b[31m", b"", b"x" * 10_000)
        await place.link.command("ZADD", place.keys.due[PRIORITY], b"inf", far.id)
        rows = await worker.get_tasks_by_status(TaskStatus.QUEUED)
        assert [row.task_id for row in rows][:3] == [task.id, "\\xff\\x0a\\x1b[31m", ""]
        assert all(row.task_id.isprintable() and len(row.task_id) < 200 for row in rows)
        [row] = await worker.get_tasks_by_status(TaskStatus.SCHEDULED)
        assert isinstance(row, TaskInfo) and row.scheduled is not None and row.scheduled.year == 9999


async def test_pages_follow_each_other_over_the_priorities(place: Place) -> None:
    worker = place.worker(priorities=["low", "high"])

    @worker.task
    async def noop(number: int) -> None: ...

    async with worker:
        lows = [noop.enqueue(number) for number in range(3)]
        highs = [noop.enqueue(number).start(priority="high") for number in range(3)]
        await worker.enqueue_many(lows + highs)
        pages = [await worker.get_tasks_by_status(TaskStatus.QUEUED, offset=first, limit=2) for first in (0, 2, 4, 6)]
        assert [[row.task_id for row in page] for page in pages] == [
            [highs[0].id, highs[1].id],
            [highs[2].id, lows[0].id],
            [lows[1].id, lows[2].id],
            [],
        ]
        only = await worker.get_tasks_by_status(TaskStatus.QUEUED, priority="low")
        assert [row.task_id for row in only] == [task.id for task in lows]
