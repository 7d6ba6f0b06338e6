"""A worker runs, drains, stops, is cancelled, and loses nothing by it."""

from __future__ import annotations

import threading

import anyio
import pytest

from secure_queue import ConfigurationError, SecureQueueError, Task, TaskStatus
from secure_queue.storage import End, GiveBack
from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_cancelling_the_run_hands_running_tasks_back_without_using_a_try(place: Place) -> None:
    worker = place.worker()
    started = anyio.Event()

    @worker.task
    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    async with worker:
        task = await hang.enqueue()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await started.wait()
            group.cancel_scope.cancel()
        assert await task.status() is TaskStatus.QUEUED
        info = await task.info()
        assert info is not None and info.tries == 0
        assert (await worker.counts()).running == 0


async def test_what_was_claimed_and_not_started_is_handed_back_in_order(place: Place) -> None:
    worker = place.worker(concurrency=1, prefetch=5)
    started = anyio.Event()

    @worker.task
    async def hang(number: int) -> None:
        started.set()
        await anyio.sleep_forever()

    async with worker:
        tasks = [hang.enqueue(number) for number in range(8)]
        await worker.enqueue_many(tasks)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await started.wait()
            worker.stop()
        rows = await worker.get_tasks_by_status(TaskStatus.QUEUED)
        assert sorted(row.task_id for row in rows) == sorted(task.id for task in tasks)
        assert [row.tries for row in rows] == [0] * 8  # type: ignore[union-attr]


async def test_drain_waits_for_running_tasks_and_takes_no_more(place: Place) -> None:
    worker = place.worker(concurrency=1, prefetch=0, grace_period=PATIENCE)
    started, proceed = anyio.Event(), anyio.Event()

    @worker.task
    async def wait() -> str:
        started.set()
        await proceed.wait()
        return "finished in peace"

    async with worker:
        first, second = await wait.enqueue(), await wait.enqueue()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await started.wait()
            worker.drain()
            await anyio.wait_all_tasks_blocked()
            proceed.set()
        assert (await first.result(timeout=PATIENCE)).result == "finished in peace"
        assert await second.status() is TaskStatus.QUEUED


@pytest.mark.parametrize("how", ["grace period", "stop"])
async def test_a_task_that_outlasts_the_grace_period_is_handed_back(place: Place, how: str) -> None:
    worker = place.worker(grace_period=0.1 if how == "grace period" else 600)
    started = anyio.Event()

    @worker.task
    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    async with worker:
        task = await hang.enqueue()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await started.wait()
            worker.drain()
            if how == "stop":
                await anyio.wait_all_tasks_blocked()
                worker.stop()
        info = await task.info()
        assert info is not None and (info.status, info.tries) == (TaskStatus.QUEUED, 0)


async def test_a_burst_ends_when_the_queue_is_empty(place: Place) -> None:
    worker = place.worker()
    runs: list[int] = []

    @worker.task
    async def note(number: int) -> None:
        runs.append(number)
        if number == 0:
            await note.enqueue(99)

    async with worker:
        await worker.enqueue_many([note.enqueue(number) for number in range(10)])
        worker.burst = True
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
        assert sorted(runs) == [*range(10), 99]
        assert await worker.queue_size() == 0
        with anyio.fail_after(PATIENCE):
            await worker.run_async()  # nothing to do


async def test_a_worker_object_runs_once_at_a_time_and_again_afterwards(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def one() -> int:
        return 1

    for _ in range(2):
        async with running(worker):
            assert (await (await one.enqueue()).result(timeout=PATIENCE)).result == 1
            with pytest.raises(SecureQueueError, match="runs tasks already"):
                await worker.run_async()


async def test_stopping_what_does_not_run_is_harmless(place: Place) -> None:
    worker = place.worker()
    worker.stop()
    worker.drain()
    async with anyio.create_task_group() as group:
        await group.start(worker.run_async)
        worker.drain()
        worker.stop()
        worker.stop()
    worker.stop()


async def test_two_lives_of_one_worker_id_never_share_a_lease(place: Place) -> None:
    holders: list[bytes] = []

    for _ in range(2):
        worker = place.worker(id="same")

        @worker.task(name="note")
        async def note() -> None:
            task_id = note.context.task_id.encode()
            holders.append(await place.link.command("HGET", place.keys.bucket(task_id), b"!r" + task_id))  # type: ignore[arg-type]

        async with running(worker):
            await (await note.enqueue()).result(timeout=PATIENCE)
    assert holders[0] != holders[1]


@pytest.mark.crossed
async def test_a_task_of_a_worker_that_vanished_runs_again_and_the_late_result_is_refused(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def tries() -> int:
        return tries.context.tries

    async with worker:
        task = await tries.enqueue()
        _, [claim] = await place.storage.claim("vanished", b"vanished.1", 1, 50)
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == 2
    assert await place.storage.complete([End(claim.untrusted_id, claim.token, 60_000, b"late")]) == [False]


@pytest.mark.crossed
async def test_the_last_permitted_try_of_a_worker_that_vanished_is_a_failure(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def never() -> None:
        raise AssertionError

    async with worker:
        task = await never.enqueue()
        _, [claim] = await place.storage.claim("vanished", b"vanished.1", 1, 50)
        await place.storage.begin([GiveBack(claim.untrusted_id, claim.token)])
    async with running(worker):
        assert "WorkerLost" in str((await task.result(timeout=PATIENCE)).exception)


@pytest.mark.crossed
async def test_a_try_that_a_vanished_worker_had_not_begun_does_not_count(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def only() -> int:
        return only.context.tries

    async with worker:
        task = await only.enqueue()
        await place.storage.claim("vanished", b"vanished.1", 1, 50)
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == 1


@pytest.mark.crossed
async def test_a_blocked_worker_leaves_what_it_has_not_begun_to_others(place: Place) -> None:
    blocked, other, producer = place.worker(idle_timeout=1, concurrency=1, prefetch=9), place.worker(), place.worker()
    proceed, started = threading.Event(), threading.Event()
    runs: list[int] = []

    for worker in (blocked, other, producer):

        @worker.task(name="block")
        async def block() -> None:
            started.set()
            proceed.wait(PATIENCE)

    @other.task(name="quick", max_tries=1)
    async def quick(number: int) -> None:
        runs.append(number)
        if len(runs) == 5:
            proceed.set()

    async def live() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(blocked.run_async)
            await anyio.to_thread.run_sync(proceed.wait, PATIENCE)
            blocked.stop()

    async with producer:
        await producer.enqueue_many([block.enqueue(), *(quick.enqueue(number) for number in range(5))])
    thread = threading.Thread(target=anyio.run, args=(live,))
    thread.start()
    await anyio.to_thread.run_sync(started.wait, PATIENCE)
    async with running(other):
        await anyio.to_thread.run_sync(proceed.wait, PATIENCE)
    await anyio.to_thread.run_sync(thread.join, PATIENCE)
    assert sorted(runs) == list(range(5)), "each ran once, and elsewhere"


async def test_a_run_whose_lease_is_lost_is_cancelled_and_not_settled(place: Place) -> None:
    worker = place.worker(idle_timeout=1)
    started, cancelled = anyio.Event(), anyio.Event()

    @worker.task
    async def hang() -> None:
        if not started.is_set():
            started.set()
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()

    async with running(worker):
        task = await hang.enqueue()
        await started.wait()
        task_id = task.id.encode()
        await place.link.command("HSET", place.keys.bucket(task_id), b"!r" + task_id, b"1:normal:somebody")
        await cancelled.wait()
        await eventually(lambda: _counted(worker, "lost"))


@pytest.mark.crossed
async def test_a_lost_task_that_comes_back_to_the_same_worker_runs_once_more_and_the_old_run_ends(place: Place) -> None:
    worker = place.worker(idle_timeout=1)
    cancelled = anyio.Event()

    @worker.task
    async def hang_once() -> int:
        if hang_once.context.tries == 1:
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()
        return hang_once.context.tries

    async with running(worker):
        task = await hang_once.enqueue()
        await eventually(lambda: _status_is(task, TaskStatus.RUNNING))
        task_id = task.id.encode()
        await place.link.command("HSET", place.keys.bucket(task_id), b"!r" + task_id, b"1:normal:")
        await place.link.command("ZREM", place.keys.leases, task_id)
        await place.link.command("RPUSH", place.keys.ready["normal"], task_id)
        await place.link.command("ZADD", place.keys.wake, 0, "0")
        assert (await task.result(PATIENCE)).result == 2
        await cancelled.wait()
        await eventually(lambda: _counted(worker, "lost"))


async def _status_is(task: Task[int], status: TaskStatus) -> bool:
    return await task.status() is status


async def _counted(worker: object, what: str) -> bool:
    return bool(worker.counters[what])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"sync_concurrency": -1},
        {"prefetch": -1},
        {"idle_timeout": 0.5},
        {"grace_period": -1},
        {"queue_name": "a b"},
        {"queue_name": ""},
        {"priorities": []},
        {"priorities": ["a", "a"]},
        {"id": "a\nb"},
        {"serializer": "yaml"},
        {"serializer": repr},
        {"signing_secret": "MY-SECRET-KEY"},
        {"signing_secret": ""},
    ],
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_options_that_cannot_work_are_refused_at_once(place: Place, options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        place.worker(**options)
