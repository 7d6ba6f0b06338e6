"""abort stops a task wherever it is, and says whether it did."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import ConfigurationError, Task, TaskFailed, TaskStatus
from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_waiting_tasks_are_aborted_at_once(place: Place) -> None:
    worker = place.worker()
    runs: list[str] = []

    @worker.task
    async def note(name: str) -> None:
        runs.append(name)

    async with worker:
        queued, delayed = await note.enqueue("queued"), await note.enqueue("delayed").start(delay=600)
        for task in (queued, delayed):
            assert await task.abort() is True
            assert await task.status() is TaskStatus.ABORTED
            outcome = await task.result(timeout=PATIENCE)
            assert not outcome.success
            assert isinstance(outcome.exception, TaskFailed)
            assert outcome.exception.remote_type == "secure_queue.TaskAborted"
            assert await task.abort() is False
        await note.enqueue("good")
        worker.burst = True
        await worker.run_async()
    assert runs == ["good"]
    assert await place.quarantine() == {}


@pytest.mark.crossed
@pytest.mark.parametrize("ttl", [60, 0])
async def test_a_running_task_is_cancelled(place: Place, ttl: int) -> None:
    worker = place.worker()
    started, cancelled = anyio.Event(), anyio.Event()

    @worker.task(ttl=ttl)
    async def hang() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async with running(worker):
        task = await hang.enqueue()
        await started.wait()
        assert await task.abort(timeout=PATIENCE) is True
        assert cancelled.is_set()
        if ttl:
            assert await task.status() is TaskStatus.ABORTED


async def test_a_task_that_does_not_stop_is_not_aborted(place: Place) -> None:
    worker = place.worker()
    started, proceed = anyio.Event(), anyio.Event()

    @worker.task
    async def stubborn() -> str:
        started.set()
        with anyio.CancelScope(shield=True):
            await proceed.wait()
        return "done"

    async with running(worker):
        task = await stubborn.enqueue()
        await started.wait()
        assert await task.abort(timeout=0.1) is False
        proceed.set()
        outcome = await task.result(timeout=PATIENCE)
        assert outcome.status in (TaskStatus.DONE, TaskStatus.ABORTED)


async def test_finished_and_unknown_tasks_cannot_be_aborted(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def one(fail: bool) -> None:
        if fail:
            raise ValueError

    async with running(worker):
        for fail in (False, True):
            task = await one.enqueue(fail)
            await task.result(timeout=PATIENCE)
            assert await task.abort() is False
            assert await task.status() is (TaskStatus.FAILED if fail else TaskStatus.DONE)
        assert await worker.abort_by_id("unknown") is False
        with pytest.raises(ConfigurationError):
            await worker.abort_by_id("not an id")


@pytest.mark.crossed
async def test_an_abort_from_another_worker_object_reaches_the_task(place: Place) -> None:
    worker, other = place.worker(), place.worker()
    started = anyio.Event()

    @worker.task
    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    async with running(worker), other:
        task = await hang.enqueue()
        await started.wait()
        assert await other.abort_by_id(task.id, timeout=PATIENCE) is True


async def test_who_waits_for_an_aborted_task_is_told(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    async with worker, anyio.create_task_group() as group:
        task = await noop.enqueue()
        outcomes: list[TaskStatus] = []

        async def ask() -> None:
            outcomes.append((await task.result(timeout=PATIENCE)).status)

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert await task.abort() is True
    assert outcomes == [TaskStatus.ABORTED]


@pytest.mark.crossed
async def test_a_task_that_was_claimed_ahead_is_aborted_before_it_starts(place: Place) -> None:
    worker = place.worker(concurrency=1, prefetch=5)
    started = anyio.Event()

    @worker.task
    async def occupy() -> None:
        started.set()
        await anyio.sleep_forever()

    async with running(worker):
        await occupy.enqueue()
        await started.wait()
        waiting = await occupy.enqueue()
        await eventually(lambda: _is_running(waiting))
        assert await waiting.abort(PATIENCE) is True
        assert await waiting.status() is TaskStatus.ABORTED


async def _is_running(task: Task[None]) -> bool:
    return await task.status() is TaskStatus.RUNNING
