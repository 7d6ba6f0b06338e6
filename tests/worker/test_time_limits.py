"""Soft and hard timeouts, and tasks that ask for more time: async functions, and functions in threads."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from secure_queue import SecureQueueError, SoftTimeout, TaskFailed
from secure_queue.tasks import CallNext
from tests.servers import PATIENCE, happens
from tests.worker.places import AT_ONCE, Place, open_place, running

pytestmark = pytest.mark.anyio

SOFT, LONG = 0.05, 60


@pytest.fixture
async def place(anyio_backend: object) -> AsyncIterator[Place]:
    """An empty queue in memory: limits are an affair of the worker alone."""
    async with open_place("memory", None) as opened:
        yield opened


async def test_a_task_is_told_at_its_soft_limit_and_saves_what_it_has(place: Place) -> None:
    worker = place.worker()

    @worker.task(soft_timeout=SOFT, timeout=LONG)
    async def crawl() -> str:
        try:
            with crawl.soft_limit():
                async with anyio.create_task_group() as group:  # the whole of it is cancelled, not this function alone
                    group.start_soon(anyio.sleep_forever)
        except SoftTimeout:
            await anyio.sleep(2 * SOFT)  # there is time for that
            return "saved"
        return "done"

    async with running(worker):
        outcome = await (await crawl.enqueue()).result(timeout=PATIENCE)
    assert outcome.result == "saved"


@pytest.mark.parametrize("again", [False, True])
async def test_a_task_that_does_not_ask_fails_at_its_soft_limit_and_is_tried_again_like_after_a_hard_one(
    place: Place, again: bool
) -> None:
    worker, tidied = place.worker(), list[int]()

    @worker.task(soft_timeout=SOFT, timeout=LONG, retry_timeouts=again, max_tries=2, retry_policy=AT_ONCE)
    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            tidied.append(endless.context.tries)

    async with running(worker):
        outcome = await (await endless.enqueue()).result(timeout=PATIENCE)
    assert isinstance(outcome.exception, TaskFailed)
    assert outcome.exception.remote_type == "secure_queue.errors.SoftTimeout"
    assert tidied == ([1, 2] if again else [1])


async def test_a_soft_limit_without_a_hard_one_and_one_that_is_not_reached_change_nothing_else(place: Place) -> None:
    worker = place.worker()

    @worker.task(soft_timeout=LONG)
    async def quick() -> float:
        with quick.soft_limit():
            await anyio.lowlevel.checkpoint()
        return quick.time_left()

    async with running(worker):
        outcome = await (await quick.enqueue()).result(timeout=PATIENCE)
    assert LONG - 10 < outcome.result <= LONG


async def test_a_hard_limit_ends_a_task_that_goes_on_after_its_soft_one(place: Place) -> None:
    worker = place.worker()

    @worker.task(soft_timeout=SOFT, timeout=2 * SOFT)
    async def stubborn() -> None:
        try:
            with stubborn.soft_limit():
                await anyio.sleep_forever()
        except SoftTimeout:
            await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await stubborn.enqueue()).result(timeout=PATIENCE)
    assert isinstance(outcome.exception, TaskFailed)
    assert outcome.exception.remote_type == "TimeoutError"


async def test_a_task_asks_for_more_time_and_gets_no_more_than_is_allowed(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=0.2, max_timeout=30)
    async def longer() -> list[float]:
        left = [longer.extend_timeout(20), longer.extend_timeout(20)]
        await anyio.sleep(0.3)
        return left

    @worker.task
    async def unlimited() -> float:
        return unlimited.extend_timeout(20)

    async with running(worker):
        outcome = await (await longer.enqueue()).result(timeout=PATIENCE)
        first, second = outcome.result
        assert 19 < first <= 20.2
        assert 28 < second <= 30
        assert (await (await unlimited.enqueue()).result(timeout=PATIENCE)).result == float("inf")


async def test_waiting_for_a_thread_inside_of_middleware_does_not_count_either(place: Place) -> None:
    worker, inside, go_on = place.worker(concurrency=2, sync_concurrency=1), threading.Event(), threading.Event()

    @worker.task
    def first() -> None:
        inside.set()
        go_on.wait(PATIENCE)

    @worker.task(timeout=0.2, middleware=lambda call_next: call_next)
    def second() -> int:
        return 2

    async with running(worker):
        await first.enqueue()
        await happens(inside.is_set)
        quick = await second.enqueue()
        with pytest.raises(TimeoutError):
            await quick.result(timeout=0.5)  # more than twice its timeout
        go_on.set()
        assert (await quick.result(timeout=PATIENCE)).result == 2


async def test_all_calls_of_a_middleware_share_one_timeout(place: Place) -> None:
    worker, left = place.worker(), list[float]()

    @worker.middleware
    def twice(call_next: CallNext) -> CallNext:
        async def call() -> None:
            await call_next()
            await anyio.sleep(SOFT)
            await call_next()

        return call

    @worker.task(timeout=LONG)
    def look() -> None:
        left.append(look.time_left())

    async with running(worker):
        await (await look.enqueue()).result(timeout=PATIENCE)
    assert LONG - PATIENCE < left[1] <= left[0] - SOFT


async def test_more_time_after_the_soft_limit_makes_it_count_again(place: Place) -> None:
    worker = place.worker()

    @worker.task(soft_timeout=SOFT, timeout=LONG)
    async def twice() -> int:
        told = 0
        for _ in range(2):
            try:
                with twice.soft_limit():
                    await anyio.sleep_forever()
            except SoftTimeout:
                told += 1
                twice.extend_timeout(SOFT)
        return told

    async with running(worker):
        assert (await (await twice.enqueue()).result(timeout=PATIENCE)).result == 2


async def test_a_function_in_a_thread_looks_at_its_limit_itself_and_asks_for_more_time(place: Place) -> None:
    worker, asked, go_on = place.worker(), threading.Event(), threading.Event()

    @worker.task(soft_timeout=SOFT, timeout=LONG, max_tries=1)
    def loop() -> None:
        while True:
            loop.check_timeout()
            go_on.wait(0.001)

    @worker.task(timeout=1)
    def longer() -> float:
        left = longer.extend_timeout(5)
        asked.wait(1.3)  # longer than its own limit
        return left

    async with running(worker):
        outcome = await (await loop.enqueue()).result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type == "secure_queue.errors.SoftTimeout"
        assert 5 < (await (await longer.enqueue()).result(timeout=PATIENCE)).result <= 6


async def test_a_thread_that_outlives_its_limit_cannot_put_it_off_any_more(place: Place) -> None:
    worker, over, said = place.worker(), threading.Event(), list[float]()

    @worker.task(timeout=SOFT, max_tries=1)
    def late() -> None:
        over.wait(PATIENCE)
        said.append(late.extend_timeout(20))

    async with running(worker):
        outcome = await (await late.enqueue()).result(timeout=PATIENCE)
        over.set()
        with anyio.fail_after(PATIENCE):
            while not said:
                await anyio.sleep(0.005)
    assert isinstance(outcome.exception, TaskFailed)
    assert said == [0.0]


async def test_a_longer_run_keeps_its_lease_for_longer(place: Place) -> None:
    worker, deadlines = place.worker(), list[float]()

    @worker.task(timeout=1)
    async def longer() -> None:
        (run,) = worker._engine.desk.running  # type: ignore[union-attr]
        before = run.give_up_at
        longer.extend_timeout(5)
        assert before is not None and run.give_up_at is not None
        deadlines.append(run.give_up_at - before)

    async with running(worker):
        assert (await (await longer.enqueue()).result(timeout=PATIENCE)).success
    assert deadlines == [pytest.approx(5)]


async def test_outside_of_a_task_there_is_no_time_to_ask_about(place: Place) -> None:
    @place.worker().task(timeout=1)
    async def task() -> None: ...

    for ask in (task.time_left, task.check_timeout, task.soft_limit, lambda: task.extend_timeout(1)):
        with pytest.raises(SecureQueueError, match="running task"):
            ask()
