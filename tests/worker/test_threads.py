"""Sync tasks: how many threads they may take, when their time begins, and what becomes of those that never end."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, TaskFailed, TaskStatus
from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio

LONG_TIMEOUT = 60


class Gate:
    """Functions that run in threads wait here."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def pass_through(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self._open.wait(PATIENCE)
        with self._lock:
            self.inside -= 1

    def open(self) -> None:
        self._open.set()


@pytest.mark.crossed
async def test_waiting_for_a_thread_does_not_count_for_the_timeout(place: Place) -> None:
    worker, gate = place.worker(concurrency=2, sync_concurrency=1), Gate()

    @worker.task(timeout=LONG_TIMEOUT)
    def first() -> None:
        gate.pass_through()

    @worker.task(timeout=0.2)
    def second() -> int:
        return 2

    async with running(worker):
        slow = await first.enqueue()
        await eventually(lambda: _is_true(gate.inside == 1))
        quick = await second.enqueue()
        await eventually(lambda: _is(quick.status, TaskStatus.RUNNING))
        with pytest.raises(TimeoutError):
            await quick.result(timeout=0.5)  # more than twice its timeout
        gate.open()
        assert (await quick.result(timeout=PATIENCE)).result == 2
        assert (await slow.result(timeout=PATIENCE)).success


@pytest.mark.crossed
async def test_a_function_that_outlives_its_timeout_keeps_its_place_and_others_run_elsewhere(place: Place) -> None:
    stuck, other, gate = place.worker(sync_concurrency=1, id="stuck"), place.worker(id="other"), Gate()

    for worker in (stuck, other):

        @worker.task(name="hang", timeout=0.05, max_tries=1)
        def hang() -> None:
            gate.pass_through()

        @worker.task(name="where", max_tries=1)
        def where() -> str:
            return where.context.worker_id

    async with running(stuck):
        hung = [stuck.registry["hang"].enqueue() for _ in range(3)]
        await stuck.enqueue_many(hung)
        assert (await hung[0].result(timeout=PATIENCE)).status is TaskStatus.FAILED
        await eventually(lambda: _is_true(stuck.counters["handed_back"] >= 2))
        assert gate.most == 1
        task = await stuck.registry["where"].enqueue()
        async with running(other):
            outcome = await task.result(timeout=PATIENCE)
            assert (outcome.result, outcome.tries) == ("other", 1)
        gate.open()
        assert (await (await stuck.registry["where"].enqueue()).result(timeout=PATIENCE)).result == "stuck"
    assert stuck.left_behind == 0


@pytest.mark.crossed
async def test_a_task_that_waits_for_a_thread_can_be_aborted(place: Place) -> None:
    worker, gate = place.worker(concurrency=2, sync_concurrency=1), Gate()

    @worker.task
    def wait() -> None:
        gate.pass_through()

    async with running(worker):
        first, second = await wait.enqueue(), await wait.enqueue()
        await eventually(lambda: _is(second.status, TaskStatus.RUNNING))
        assert await second.abort(timeout=PATIENCE)
        gate.open()
        assert (await first.result(timeout=PATIENCE)).success
    assert gate.most == 1


async def test_at_the_end_who_waits_for_a_thread_is_handed_back_and_who_has_one_may_finish(place: Place) -> None:
    worker, gate = place.worker(concurrency=2, sync_concurrency=1, grace_period=PATIENCE), Gate()

    @worker.task
    def wait() -> str:
        gate.pass_through()
        return "finished in peace"

    async with worker:
        first, second = await wait.enqueue(), await wait.enqueue()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await eventually(lambda: _is(second.status, TaskStatus.RUNNING))
            await eventually(lambda: _is_true(gate.inside == 1))
            worker.drain()
            await eventually(lambda: _is_true(worker.counters["handed_back"] == 1))
            gate.open()
        done = first if await first.info() is None else second  # either may have been the one with the thread
        assert (await done.result(timeout=PATIENCE)).result == "finished in peace"
        info = await (second if done is first else first).info()
        assert info is not None and (info.status, info.tries) == (TaskStatus.QUEUED, 0)


async def test_a_function_that_never_ends_does_not_hold_the_worker(place: Place) -> None:
    worker, gate = place.worker(grace_period=0.05), Gate()

    @worker.task
    def hang() -> None:
        gate.pass_through()

    async with worker:
        task = await hang.enqueue()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await eventually(lambda: _is_true(gate.inside == 1))
            worker.drain()
        assert worker.left_behind == 1
        assert await task.status() is TaskStatus.QUEUED
        gate.open()


@pytest.mark.crossed
async def test_no_more_tasks_wait_for_threads_than_there_are_and_the_others_run_elsewhere(place: Place) -> None:
    workers, gate = [place.worker(concurrency=8, sync_concurrency=1, id=name) for name in "ab"], Gate()

    for worker in workers:

        @worker.task(name="where")
        def where() -> str:
            gate.pass_through()
            return where.context.worker_id

    first, second = workers
    async with running(first):
        tasks = [first.registry["where"].enqueue() for _ in range(6)]
        await first.enqueue_many(tasks)
        await eventually(lambda: _is_true(first.counters["handed_back"] >= 4))
        async with running(second):
            await eventually(lambda: _is_true(gate.inside == 2))
            gate.open()
            who = [(await task.result(timeout=PATIENCE)).result for task in tasks]
    assert set(who) == {"a", "b"}


@pytest.mark.crossed
async def test_a_task_that_expires_while_it_waits_for_a_thread_is_not_run(place: Place) -> None:
    worker, gate = place.worker(concurrency=2, sync_concurrency=1), Gate()

    @worker.task
    def first() -> None:
        gate.pass_through()

    @worker.task(expire=1)
    def second() -> None:
        gate.pass_through()

    async with running(worker):
        await first.enqueue()
        await eventually(lambda: _is_true(gate.inside == 1))
        late = await second.enqueue()
        await eventually(lambda: _is(late.status, TaskStatus.RUNNING))
        with pytest.raises(TimeoutError):
            await late.result(timeout=1.1)  # the time after which it has expired
        gate.open()
        outcome = await late.result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type == "secure_queue.TaskExpired"


async def test_an_interrupt_that_a_function_raises_in_its_thread_is_a_failure_like_others(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    def interrupt() -> None:
        raise KeyboardInterrupt

    async with running(worker):
        outcome = await (await interrupt.enqueue()).result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type == "KeyboardInterrupt"


async def test_a_thread_that_cannot_be_started_costs_no_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, refused = place.worker(concurrency=1, prefetch=0), list[str]()

    @worker.task
    def good() -> int:
        return 1

    def no_more(thread: threading.Thread) -> None:
        if thread.name.lower().startswith(("anyio", "trio")) and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")  # as the system says it
        start(thread)

    async with running(worker):
        start = threading.Thread.start
        task = good.enqueue()
        monkeypatch.setattr(threading.Thread, "start", no_more)
        await task
        assert (await task.result(timeout=PATIENCE)).result == 1


class Adder:
    """A callable object."""

    async def __call__(self, a: int, b: int) -> int:
        await anyio.lowlevel.checkpoint()
        return a + b


async def _add(a: int, b: int) -> int:
    return await Adder()(a, b)


def _decorated(fn: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Awaitable[int]:
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize("fn", [Adder(), functools.partial(_add, 1), _decorated(_add)])
async def test_whatever_can_be_called_can_be_a_task(place: Place, fn: Callable[..., Awaitable[int]]) -> None:
    worker = place.worker()
    task = worker.task(name="add")(fn)
    arguments = (2,) if isinstance(fn, functools.partial) else (1, 2)
    async with running(worker):
        assert (await (await task.enqueue(*arguments)).result(timeout=PATIENCE)).result == 3


@pytest.mark.parametrize("fn", [Adder(), functools.partial(_add, 1)])
async def test_a_callable_without_a_name_must_be_given_one(place: Place, fn: Callable[..., Awaitable[int]]) -> None:
    with pytest.raises(ConfigurationError, match="name="):
        place.worker().task(fn)


async def _is_true(value: object) -> bool:
    return bool(value)


async def _is(ask: Callable[[], Awaitable[object]], expected: object) -> bool:
    return await ask() == expected


async def test_a_burst_leaves_no_sync_task_behind_however_few_threads_there_are(place: Place) -> None:
    worker, ran = place.worker(concurrency=8, sync_concurrency=1), list[int]()
    worker.burst = True

    @worker.task
    def note(number: int) -> None:
        ran.append(number)

    async with worker:
        await worker.enqueue_many([note.enqueue(number) for number in range(20)])
        assert (await worker.run_async()).processed == 20
    assert sorted(ran) == list(range(20))
