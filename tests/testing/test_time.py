"""Time stands still under test and goes where it is told: delays, retries, schedules, leases and expiries follow."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue import ConcurrencyLimit, ConfigurationError, RateLimit, TaskFailed, TaskStatus, Worker
from secure_queue.clock import now_ms
from secure_queue.testing import StoppedClock, TestWorker
from tests.servers import happens
from tests.testing.conftest import NOWHERE, START, Shop
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


async def test_a_delayed_task_waits_for_the_clock_and_for_nothing_else(shop: Shop) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        task = await shop.send.enqueue(7).start(delay=timedelta(days=30))
        assert await queue.drain() == {}
        assert await queue.advance(days=29, hours=23, minutes=59) == {}
        assert await task.status() is TaskStatus.SCHEDULED
        assert await queue.advance(minutes=1) == {"completed": 1}
        result = await task.result()
        assert (result.result, result.start_time - result.enqueue_time) == ("hello 7", 30 * 86_400_000)


async def test_each_task_runs_when_the_clock_stands_at_its_moment(shop: Shop) -> None:
    seen: list[float] = []

    @shop.worker.task
    async def note() -> None:
        seen.append((queue.clock.now - START).total_seconds())

    async with TestWorker(shop.worker, now=START) as queue:
        for delay in (90, 30, 30, 4000):
            await note.enqueue().start(delay=delay)
        await queue.advance(hours=1)
        assert seen == [30, 30, 90]
        assert queue.clock.now == START + timedelta(hours=1)


async def test_what_a_pause_keeps_back_runs_when_it_ends(shop: Shop) -> None:
    seen: list[float] = []

    @shop.worker.task
    async def note() -> None:
        seen.append((queue.clock.now - START).total_seconds())

    async with TestWorker(shop.worker, now=START) as queue:
        for seconds in (90, 30):
            await note.enqueue()
            await shop.worker.pause(seconds=seconds)
            await queue.advance(hours=1)
        await shop.worker.pause(seconds=60)
        await note.enqueue()
        assert await queue.finish() == {"completed": 1}
        await shop.worker.pause()
        await note.enqueue()
        assert await queue.finish() == {} == await queue.advance(hours=1)
    assert seen == [90, 3630, 7260]


async def test_limits_follow_the_clock_that_is_moved(shop: Shop) -> None:
    seen: list[float] = []

    @shop.worker.task(limits=[RateLimit(2, per=60), ConcurrencyLimit(1)])
    async def note() -> None:
        seen.append((queue.clock.now - START).total_seconds())

    async with TestWorker(shop.worker, now=START) as queue:
        for _ in range(5):
            await note.enqueue()
        assert await queue.drain() == {"completed": 2}
        assert await queue.advance(minutes=10) == {"completed": 3}
        assert seen == [0, 0, 60, 60, 120]


async def test_whose_turn_it_is_comes_without_a_look_of_its_own(shop: Shop) -> None:
    """The clock stands still, so that no such look is ever due."""

    @shop.worker.task(limits=ConcurrencyLimit(1))
    async def alone() -> None: ...

    async with TestWorker(shop.worker, now=START) as queue:
        await shop.worker.enqueue_many([alone.enqueue() for _ in range(20)])
        assert await queue.drain() == {"completed": 20}


async def test_a_task_that_is_paused_by_name_waits_without_a_look_and_comes_with_the_end_of_its_pause(
    shop: Shop,
) -> None:
    seen: list[tuple[int, float]] = []

    @shop.worker.task(name="note")
    async def note(number: int) -> None:
        seen.append((number, (queue.clock.now - START).total_seconds()))

    async with TestWorker(shop.worker, now=START) as queue:
        await shop.worker.pause(task="note")
        await shop.worker.enqueue_many([note.enqueue(number) for number in range(3)])
        assert await queue.drain() == {}
        assert await queue.advance(days=1) == {}
        assert await queue.finish() == {}
        assert shop.worker.counters["shelved"] == 3  # of the last run, so there was one
        assert await shop.worker.queue_size() == 3
        assert await shop.worker.resume(task="note")
        assert await queue.drain() == {"completed": 3}
        await shop.worker.pause(task="note", seconds=600)
        await note.enqueue(3)
        assert await queue.drain() == {}
        assert await queue.finish() == {"completed": 1}
        assert seen == [(0, 86_400), (1, 86_400), (2, 86_400), (3, 87_000)]


async def test_tasks_that_are_paused_while_they_wait_for_a_permit_hold_up_nobody(shop: Shop) -> None:
    """The clock stands still, so that no promise of a permit runs out."""
    one, ran = ConcurrencyLimit(1, name="one"), list[str]()

    @shop.worker.task(limits=one)
    async def hold() -> None:
        await happens(lambda: shop.worker.counters["parked"] == 4)
        await shop.worker.pause(task="mail")
        await happens(lambda: shop.worker._engine._admission.watches)  # type: ignore[union-attr]

    @shop.worker.task(name="mail", limits=one)
    async def mail() -> None:
        ran.append("mail")

    @shop.worker.task(name="other", limits=one)
    async def other() -> None:
        ran.append("other")

    async with TestWorker(shop.worker, now=START) as queue:
        tasks = [hold.enqueue(), *(mail.enqueue() for _ in range(3)), other.enqueue()]
        await shop.worker.enqueue_many(tasks)
        assert await queue.drain() == {"completed": 2}
        assert ran == ["other"]
        assert await shop.worker.resume(task="mail")
        assert await queue.drain() == {"completed": 3}


async def test_a_schedule_fires_once_at_each_of_its_moments_in_its_own_time_zone(shop: Shop) -> None:
    fired: list[datetime] = []

    @shop.worker.cron("0 3 * * *", tz="Europe/Berlin")
    async def nightly() -> None:
        fire_time = nightly.context.fire_time
        assert fire_time == queue.clock.now
        fired.append(fire_time)

    async with TestWorker(shop.worker, now=START) as queue:
        await queue.advance(days=3)
        assert fired == [START.replace(day=day, hour=2) for day in (1, 2, 3)]


async def test_a_schedule_that_is_stored_at_run_time_follows_too(shop: Shop) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        task = await shop.send.enqueue(1).start(schedule=timedelta(hours=1))
        await queue.advance(hours=2, minutes=30)
        assert shop.did == [(1, "hello")] * 2
        await task.unschedule()
        await queue.advance(hours=2)
        assert shop.did == [(1, "hello")] * 2


async def test_what_runs_at_start_up_runs_once_however_often_the_queue_is_drained(shop: Shop) -> None:
    @shop.worker.cron("0 3 * * *", run_at_startup=True)
    async def warm_up() -> None:
        shop.did.append("warm")

    async with TestWorker(shop.worker, now=START) as queue:
        await queue.drain()
        await shop.send.enqueue(1)
        await queue.advance(hours=1)
        assert shop.did == ["warm", (1, "hello")]


async def test_another_try_comes_after_its_backoff(shop: Shop) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        task = await shop.flaky.enqueue(3)
        assert await queue.drain() == {"retried": 1}
        await queue.advance(seconds=59)
        assert shop.did == ["try 1"]
        await queue.advance(seconds=1)
        assert await queue.finish() == {"completed": 1}
        assert (await task.result()).result == 3
        assert queue.clock.now == START + timedelta(seconds=60 + 120)


async def test_the_lease_of_a_worker_that_vanished_runs_out_with_the_clock(shop: Shop) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        task = await shop.send.enqueue(7)
        assert await queue.lose_worker() == [task.id]
        assert await task.status() is TaskStatus.RUNNING
        assert await queue.advance(seconds=59) == {}
        assert await queue.advance(1) == {"completed": 1}
        with pytest.raises(ConfigurationError, match="a number of seconds or a timedelta"):
            await queue.advance("an hour")  # type: ignore[arg-type]
        assert (await task.result()).tries == 2


async def test_results_and_late_tasks_expire_with_the_clock(shop: Shop) -> None:
    @shop.worker.task(ttl=600, expire=60)
    async def brief() -> None:
        shop.did.append("brief")

    async with TestWorker(shop.worker, now=START) as queue:
        in_time, late = await brief.enqueue(), brief.enqueue()
        await queue.drain()
        queue.clock.move(seconds=600)
        assert await in_time.status() is TaskStatus.DONE
        queue.clock.move(milliseconds=1)
        assert await in_time.status() is TaskStatus.NOT_FOUND
        await late
        queue.clock.move(seconds=61)
        await queue.drain()
        assert shop.did == ["brief"]
        result = await late.result()
        assert isinstance(result.exception, TaskFailed)
        assert "Expired" in result.exception.remote_type


async def test_the_clock_stands_still_and_only_while_the_test_worker_is_open(shop: Shop) -> None:
    async with TestWorker(shop.worker, now=START) as queue:
        assert now_ms() == queue.clock.now_ms == START.timestamp() * 1000
        await shop.send.enqueue(1)
        await queue.drain()
        assert queue.clock.now == START
    assert abs(now_ms() - time.time() * 1000) < 60_000


async def test_two_workers_can_share_a_clock(shop: Shop) -> None:
    other = Worker[Any](NOWHERE, queue_name="other", signing_secret=SECRET)
    clock = StoppedClock(START)
    async with TestWorker(shop.worker, clock=clock) as queue, TestWorker(other, clock=clock):
        await shop.send.enqueue(1).start(delay=60)
        clock.move(minutes=1)
        assert await queue.drain() == {"completed": 1}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda clock: clock.move(seconds=-1), "goes forward only"),
        (lambda clock: clock.move_to(START - timedelta(days=1)), "goes forward only"),
        (lambda clock: clock.move_to(datetime(2031, 1, 1)), "aware datetime"),
        (lambda clock: clock.move(), "say how far"),
        (lambda clock: clock.move(timedelta(1), hours=1), "say how far"),
        (lambda clock: clock.move(moons=1), "no such unit"),
    ],
    ids=["back", "back to", "naive", "nothing", "both", "unit"],
)
def test_a_clock_refuses_what_makes_no_sense(wrong: Any, why: str) -> None:
    clock = StoppedClock(START)
    with pytest.raises(ConfigurationError, match=why):
        wrong(clock)
    assert clock.now == datetime(2030, 1, 1, tzinfo=UTC)


async def test_quiet_times_and_windows_follow_the_clock_and_lines_are_drained(shop: Shop) -> None:
    did = list[tuple[str, int]]()

    @shop.worker.task(debounce=60, debounce_max=150)
    async def index(version: int) -> None:
        did.append(("index", version))

    @shop.worker.task(throttle=60)
    async def refresh(number: int) -> None:
        did.append(("refresh", number))

    @shop.worker.task(order_by="account")
    async def book(account: str, number: int) -> None:
        did.append((account, number))

    async with TestWorker(shop.worker, now=START) as queue:
        for number in range(4):
            await index.enqueue(number)
            await refresh.enqueue(number)
            await queue.advance(seconds=40)
        # The index is made 150 s after the first call, and not 60 s after the last.
        assert did == [("refresh", 0), ("refresh", 2), ("index", 3)]
        assert (queue.clock.now - START).total_seconds() == 160
        queue.assert_enqueued(refresh.enqueue(2), times=1)
        queue.assert_enqueued(index.enqueue(2), times=1)
        await shop.worker.enqueue_many([book.enqueue("a", number) for number in range(5)])
        assert await queue.drain() == {"completed": 5}
        assert did[3:] == [("a", number) for number in range(5)]
