"""Limits over all workers: never more at once, never more in a time, and whoever waits goes on when it may."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from secure_queue import ConcurrencyLimit, RateLimit, RateLimited, Task, TaskStatus, Worker
from secure_queue.redis.scripts import load
from tests.servers import PATIENCE, eventually, happens
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


class Crowd:
    """Who runs now, and the most that ever did."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.starts: list[float] = []

    async def visit(self, place: str, seconds: float) -> None:
        self.starts.append(time.monotonic())
        self.now[place] += 1
        self.most[place] = max(self.most[place], self.now[place])
        try:
            await anyio.sleep(seconds)
        finally:
            self.now[place] -= 1


@asynccontextmanager
async def crew(place: Place, declare: Any, count: int = 2, **options: Any) -> AsyncIterator[list[Worker[Any]]]:
    """Several workers that run the same tasks."""
    workers = [place.worker(concurrency=8, **options) for _ in range(count)]
    for worker in workers:
        declare(worker)
    async with AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(running(worker))
        yield workers


async def results(worker: Worker[Any], tasks: list[Task[Any]]) -> list[Any]:
    await worker.enqueue_many(tasks)
    return [(await task.result(timeout=PATIENCE)).result for task in tasks]


async def test_no_more_run_at_once_than_a_limit_says_over_all_workers(place: Place) -> None:
    crowd, begun, three = Crowd(), list[int](), anyio.Event()

    def declare(worker: Worker[Any]) -> None:
        @worker.task(name="work", limits=ConcurrencyLimit(3))
        async def work(number: int) -> int:
            if number < 3:
                begun.append(number)
                if len(begun) == 3:
                    three.set()
                await three.wait()
            await crowd.visit("work", 0.004)
            return number

    async with crew(place, declare) as workers:
        tasks = [workers[0].enqueue_by_name("work", number) for number in range(60)]
        assert await results(workers[0], tasks) == list(range(60))
        assert three.is_set() and crowd.most["work"] <= 3
        assert sum(worker.counters["completed"] for worker in workers) >= 60


async def test_a_key_has_a_limit_of_its_own_and_none_has_none(place: Place) -> None:
    crowd, without, two_without = Crowd(), list[int](), anyio.Event()

    def declare(worker: Worker[Any]) -> None:
        @worker.task(name="work", limits=[ConcurrencyLimit(4), ConcurrencyLimit(1, key=lambda customer, **_: customer)])
        async def work(customer: str | None, *, seconds: float = 0.004) -> None:
            if customer is None:
                without.append(1)
                if len(without) == 2:
                    two_without.set()
                await two_without.wait()
            await crowd.visit(str(customer), seconds)

    async with crew(place, declare) as workers:
        calls: list[str | None] = ["a", "b", None, "a", "b", None] * 5
        await results(workers[0], [workers[0].enqueue_by_name("work", customer) for customer in calls])
    assert crowd.most["a"] == crowd.most["b"] == 1
    assert two_without.is_set() and crowd.most["None"] <= 4


@pytest.mark.crossed
async def test_no_more_start_in_a_time_than_a_limit_says_and_not_much_fewer(place: Place) -> None:
    crowd, per_s = Crowd(), 0.3

    def declare(worker: Worker[Any]) -> None:
        @worker.task(name="work", limits=RateLimit(5, per=per_s))
        async def work() -> None:
            await crowd.visit("work", 0)

    async with crew(place, declare) as workers:
        await results(workers[0], [workers[0].enqueue_by_name("work") for _ in range(15)])
    starts = sorted(crowd.starts)
    slack_s = 0.05 + per_s / 20  # of the machine, and what is permitted
    assert all(last - first > per_s - slack_s for first, last in zip(starts, starts[5:], strict=False))
    assert starts[-1] - starts[0] < 2 * per_s + 1


async def test_tasks_that_wait_for_a_limit_keep_nobody_from_a_seat(place: Place) -> None:
    worker = place.worker(concurrency=2)
    release = anyio.Event()

    @worker.task(limits=ConcurrencyLimit(1))
    async def limited() -> None:
        await release.wait()

    @worker.task
    async def free() -> str:
        return "free"

    async with running(worker):
        waiting = [limited.enqueue() for _ in range(20)]
        await worker.enqueue_many(waiting)
        assert await results(worker, [free.enqueue() for _ in range(5)]) == ["free"] * 5
        release.set()
        assert [(await task.result(timeout=PATIENCE)).success for task in waiting] == [True] * 20
        assert worker.counters["parked"] >= 18


@pytest.mark.crossed
@pytest.mark.parametrize("way", ["returns", "fails", "is retried", "takes too long", "is aborted", "is a thread"])
async def test_however_a_run_ends_its_permit_comes_back(place: Place, way: str) -> None:
    worker = place.worker(concurrency=4)
    limit = ConcurrencyLimit(1, name="one")
    started = anyio.Event()
    tries = Counter[str]()

    @worker.task(limits=limit, timeout=0.05 if way == "takes too long" else None, max_tries=2, retry_policy=AT_ONCE)
    async def first() -> None:
        tries["first"] += 1
        started.set()
        if way == "fails" or (way == "is retried" and tries["first"] == 1):
            raise ValueError
        if way in ("takes too long", "is aborted"):
            await anyio.sleep_forever()

    @worker.task(name="thread", limits=limit)
    def thread() -> str:
        return "second"

    @worker.task(limits=limit)
    async def second() -> str:
        return "second"

    async with running(worker):
        one = await (thread if way == "is a thread" else first).enqueue()
        if way != "is a thread":
            await started.wait()
        other = await second.enqueue()
        if way == "is aborted":
            assert await one.abort(timeout=PATIENCE)
        assert (await other.result(timeout=PATIENCE)).result == "second"


async def test_a_limit_of_the_queue_holds_for_all_its_tasks(place: Place) -> None:
    crowd = Crowd()

    def declare(worker: Worker[Any]) -> None:
        for name in ("one", "other"):

            @worker.task(name=name)
            async def work() -> None:
                await crowd.visit("all", 0.004)

    async with crew(place, declare, limits=[ConcurrencyLimit(2)]) as workers:
        await results(workers[0], [workers[0].enqueue_by_name(name) for name in ("one", "other") * 10])
    assert 1 <= crowd.most["all"] <= 2


async def test_what_waits_for_a_second_limit_does_not_keep_the_first(place: Place) -> None:
    worker = place.worker(concurrency=4)
    release, begun = anyio.Event(), list[str]()
    shared, own = ConcurrencyLimit(2, name="shared"), ConcurrencyLimit(1, name="own")

    @worker.task(limits=[shared, own])
    async def both(name: str) -> None:
        begun.append(name)
        await release.wait()

    @worker.task(limits=[shared])
    async def one() -> str:
        return "one"

    async with running(worker):
        tasks = [both.enqueue(name) for name in "abc"]
        await worker.enqueue_many(tasks)
        await happens(lambda: begun and worker.counters["parked"] >= 2)
        assert await results(worker, [one.enqueue()]) == ["one"]
        release.set()
        assert all([(await task.result(timeout=PATIENCE)).success for task in tasks])


@pytest.mark.crossed
async def test_a_task_that_is_throttled_holds_up_all_of_its_limit_and_loses_no_try(place: Place) -> None:
    worker = place.worker(concurrency=1)
    begun = list[tuple[str, int, float]]()

    @worker.task(limits=RateLimit(100, per=1, name="upstream"), max_tries=1)
    async def call(name: str) -> str:
        begun.append((name, call.context.tries, time.monotonic()))
        if len(begun) == 1:
            raise RateLimited(after=0.4)
        return name

    async with running(worker):
        assert await results(worker, [call.enqueue("a"), call.enqueue("b")]) == ["a", "b"]
    (_, _, first), *others = begun
    assert [tries for _, tries, _ in others] == [1, 1]
    assert min(at for _, _, at in others) - first > 0.35


async def test_a_key_that_cannot_be_told_fails_its_task_and_nothing_else(place: Place) -> None:
    worker = place.worker()

    @worker.task(limits=ConcurrencyLimit(1, key=lambda order: order["id"]), max_tries=1, silent=True)
    async def work(order: Any) -> str:
        return "done"

    async with running(worker):
        broken = await work.enqueue({})
        assert (await broken.result(timeout=PATIENCE)).status is TaskStatus.FAILED
        assert await results(worker, [work.enqueue({"id": 1})]) == ["done"]


async def test_the_key_of_a_dependent_sees_what_its_parent_returned(place: Place) -> None:
    worker = place.worker()
    seen = list[Any]()

    def key(value: str) -> str:
        seen.append(value)
        return value

    @worker.task
    async def parent() -> str:
        return "from the parent"

    @worker.task(limits=ConcurrencyLimit(1, key=key))
    async def child(value: str) -> str:
        return value

    async with running(worker):
        last = await (parent.enqueue() | child)
        assert (await last.result(timeout=PATIENCE)).result == "from the parent"
    assert seen == ["from the parent"]


async def test_aborting_one_that_waits_lets_those_behind_it_go_on(place: Place) -> None:
    worker = place.worker()
    started, release = anyio.Event(), anyio.Event()

    @worker.task(limits=ConcurrencyLimit(1))
    async def work(name: str) -> str:
        if name == "a":
            started.set()
            await release.wait()
        return name

    async with running(worker):
        tasks = [await work.enqueue("a")]
        await started.wait()
        tasks += [await work.enqueue(name) for name in "bc"]

        async def are_parked() -> bool:
            return (await worker.counts()).due["normal"] == 2

        await eventually(are_parked)
        assert await tasks[1].abort()
        release.set()
        assert (await tasks[2].result(timeout=PATIENCE)).result == "c"


async def test_a_burst_ends_only_when_all_have_had_their_turn(place: Place) -> None:
    worker = place.worker()

    @worker.task(limits=ConcurrencyLimit(1))
    async def work(number: int) -> int:
        await anyio.sleep(0.002)
        return number

    async with worker:
        tasks = [work.enqueue(number) for number in range(12)]
        await worker.enqueue_many(tasks)
        worker.burst = True
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
        assert [await task.status() for task in tasks] == [TaskStatus.DONE] * 12


async def test_a_worker_that_stops_while_permits_are_handed_on_keeps_no_task(place: Place) -> None:
    worker = place.worker()
    done = list[int]()

    @worker.task(limits=ConcurrencyLimit(1))
    async def work(number: int) -> None:
        done.append(number)
        if len(done) % 5 == 0:
            worker.drain()

    async with worker:
        await worker.enqueue_many([work.enqueue(number) for number in range(20)])
        while len(done) < 20:
            with anyio.fail_after(PATIENCE):
                await worker.run_async()
            counts = await worker.counts()
            assert counts.running == 0
            assert counts.ready["normal"] + counts.due["normal"] + counts.results == 20
    assert sorted(done) == list(range(20))


async def in_lines_of_limits(place: Place) -> set[str]:
    keys: Any = await place.link.command("KEYS", place.keys.line(b"*"))
    found: list[Any] = [await place.link.command("ZRANGE", key, 0, -1) for key in keys]
    return {name.decode().removeprefix("0 ") for names in found for name in names}


@pytest.mark.crossed
async def test_one_that_is_replaced_or_aborted_frees_its_place_in_the_line_of_a_rate(place: Place) -> None:
    worker = place.worker()

    @worker.task(limits=RateLimit(1, per=600))
    async def seldom(number: int) -> int:
        return number

    async with running(worker):
        assert await results(worker, [seldom.enqueue(0)]) == [0]
        second = await seldom.enqueue(1).start(unique_key="key")
        await happens(lambda: worker.counters["parked"] == 1)
        assert await in_lines_of_limits(place) == {second.id}
        third = await seldom.enqueue(2).start(unique_key="key", on_conflict="replace")
        await happens(lambda: worker.counters["parked"] == 2)

        async def stands_there_alone() -> bool:
            return await in_lines_of_limits(place) == {third.id}

        await eventually(stands_there_alone)
        assert await third.abort()
        assert await in_lines_of_limits(place) == set()


async def test_who_waits_for_a_worker_that_starts_gets_permits_in_the_order_of_the_queue(place: Place) -> None:
    worker, ran = place.worker(concurrency=16), list[int]()

    @worker.task(limits=ConcurrencyLimit(1))
    async def visit(number: int) -> None:
        ran.append(number)

    async with worker:
        tasks = [visit.enqueue(number) for number in range(9)]
        await worker.enqueue_many(tasks)
    async with running(worker):
        for task in tasks:
            await task.result(timeout=PATIENCE)
    assert ran == list(range(9))


async def test_keys_take_turns_in_the_line_of_a_limit(place: Place) -> None:
    worker, gate = place.worker(concurrency=8), anyio.Event()
    turns: list[str] = []

    @worker.task(fair_by="tenant", limits=ConcurrencyLimit(1))
    async def export(tenant: str) -> None:
        turns.append(tenant)
        await gate.wait()

    async with running(worker):
        large = [export.enqueue("large") for _ in range(30)]
        await worker.enqueue_many(large)
        await happens(lambda: worker.counters["parked"] >= 29)
        small = await export.enqueue("small")

        async def is_in_line() -> bool:
            return small.id in await in_lines_of_limits(place)

        await eventually(is_in_line)
        assert await worker.queue_size(include_scheduled=False) == 0
        assert len(await worker.get_tasks_by_status(TaskStatus.SCHEDULED)) == await worker.queue_size() == 30
        gate.set()
        await small.result(timeout=PATIENCE)
        assert turns.index("small") in (1, 2)
        for task in large:
            assert (await task.result(timeout=PATIENCE)).success


@pytest.mark.parametrize("place", ["server"], indirect=True)
async def test_a_permit_is_handed_on_with_one_call_to_give_and_one_to_take_it(place: Place) -> None:
    """The server notes every call while twenty tasks run one after the other."""
    worker, tasks = place.worker(), 20
    release = anyio.Event()

    @worker.task(limits=ConcurrencyLimit(1))
    async def alone() -> None:
        await release.wait()

    async with running(worker):
        waiting = [alone.enqueue() for _ in range(tasks + 1)]
        await worker.enqueue_many(waiting)
        await happens(lambda: worker.counters["parked"] == tasks)
        settings: Any = await place.link.command("CONFIG", "GET", "slowlog-*")
        await place.link.command("CONFIG", "SET", "slowlog-max-len", 10_000)
        await place.link.command("CONFIG", "SET", "slowlog-log-slower-than", 0)
        await place.link.command("SLOWLOG", "RESET")
        release.set()
        assert all([(await task.result(timeout=PATIENCE)).success for task in waiting])
        entries: Any = await place.link.command("SLOWLOG", "GET", -1)
        pairs = dict(zip(settings[::2], settings[1::2], strict=True)) if isinstance(settings, list) else settings
        for name, value in pairs.items():
            await place.link.command("CONFIG", "SET", name, value)
    called = Counter(entry[3][1].decode() for entry in entries if entry[3][0].upper() == b"EVALSHA")
    calls = {name: called[load(name).sha] for name in ("admit", "leave", "hurry", "park", "claim")}
    assert calls["admit"] == tasks and tasks <= calls["leave"] <= tasks + 1
    assert calls["hurry"] == calls["park"] == 0
    assert calls["claim"] <= 10  # what an idle worker asks now and then


@pytest.mark.parametrize("place", ["server"], indirect=True)
async def test_limits_hold_over_several_partitions(place: Place) -> None:
    crowd = Crowd()

    def declare(worker: Worker[Any]) -> None:
        @worker.task(name="work", limits=ConcurrencyLimit(2, key=lambda number: number % 3))
        async def work(number: int) -> None:
            await crowd.visit(str(number % 3), 0.003)

    async with crew(place, declare, partitions=3) as workers:
        ids = [f"{number}-own" for number in range(36)]
        calls = [workers[0].enqueue_by_name("work", number).start(id=ids[number]) for number in range(36)]
        await results(workers[0], calls)
    assert len(crowd.starts) == 36 and set(crowd.most.values()) <= {1, 2}


@pytest.mark.crossed
async def test_a_start_that_cannot_be_used_is_given_back(place: Place) -> None:
    """Of one rate while the other refuses, and while there is no thread; so all of the longer one are used in the end."""
    worker = place.worker(concurrency=8, sync_concurrency=1)
    ran: list[int] = []

    @worker.task(limits=[RateLimit(4, per=0.4, name="short"), RateLimit(12, per=600, name="long")])
    def work(number: int) -> None:
        ran.append(number)
        time.sleep(0.02)

    async with running(worker):
        await worker.enqueue_many([work.enqueue(number) for number in range(14)])
        await happens(lambda: len(ran) == 12)
