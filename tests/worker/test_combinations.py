"""What is used together: keys with delays and aborts, schedules with limits, chains through pauses, and so on. In memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from secure_queue import ConcurrencyLimit, Depends, RateLimit, Router, TaskContext, TaskFailed, TaskStatus, Worker
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE, eventually
from tests.worker import process_tasks
from tests.worker.places import AT_ONCE, Place, open_place, running

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def place(anyio_backend: object) -> AsyncIterator[Place]:
    """An empty queue in memory."""
    async with open_place("memory", None) as opened:
        yield opened


def shop(**options: Any) -> Worker[Any]:
    """A worker for a test whose clock stands still."""
    return Worker("redis://queue.invalid", signing_secret=format_key(generate_key("tests")), **options)


async def test_a_delayed_call_keeps_its_key_until_it_is_aborted_through_any_handle() -> None:
    worker, ran = shop(), list[int]()

    @worker.task(unique_key="customer")
    async def charge(customer: int, amount: int) -> int:
        ran.append(amount)
        return amount

    async with TestWorker(worker, now=START) as queue:
        first = await charge.enqueue(7, 10).start(delay=600)
        second = await charge.enqueue(7, 20).start(delay=60)
        assert second.duplicate_of == first.id
        await queue.advance(seconds=300)
        assert await second.abort() and await first.status() is TaskStatus.ABORTED
        third = await charge.enqueue(7, 30).start(delay=60)
        assert third.duplicate_of is None
        await queue.advance(seconds=60)
        assert (await third.result()).result == 30
        await queue.advance(seconds=600)
    assert ran == [30]


async def test_schedules_share_a_limit_and_a_rate_and_leave_no_start_unused() -> None:
    worker = shop(concurrency=8)
    at_once, most, starts = 0, 0, list[tuple[str, datetime]]()

    def declare(name: str) -> None:
        limits = [ConcurrencyLimit(1, name="one"), RateLimit(3, per=60, name="rate")]

        @worker.cron("*/30 * * * * *", name=name, unique=False, limits=limits)
        async def job() -> None:
            nonlocal at_once, most
            starts.append((name, queue.clock.now))
            at_once, most = at_once + 1, max(most, at_once + 1)
            await anyio.lowlevel.checkpoint()
            at_once -= 1

    for name in ("a", "b"):
        declare(name)
    async with TestWorker(worker, now=START) as queue:
        await queue.advance(minutes=3)
    assert most == 1
    assert len(starts) == 9 and {name for name, _ in starts} == {"a", "b"}, "no start of the rate is left unused"
    moments = [moment for _, moment in starts]
    assert all(later - before >= timedelta(seconds=60) for before, later in zip(moments, moments[3:], strict=False))


async def test_a_chain_waits_for_the_pause_and_the_rate_of_its_second_task() -> None:
    worker = shop()
    began = list[datetime]()

    @worker.task(name="first")
    async def first(number: int) -> int:
        return number + 1

    @worker.task(name="second", limits=RateLimit(1, per=10))
    async def second(number: int) -> int:
        began.append(queue.clock.now)
        return 10 * number

    async with TestWorker(worker, now=START) as queue:
        await worker.pause(task="second")
        chains = [first.enqueue(number) | second for number in range(3)]
        await worker.enqueue_many(chains)
        await queue.advance(seconds=1)
        assert began == []
        assert "paused" in [reason.why.value for reason in (await chains[0].explain()).reasons]
        assert await worker.resume(task="second")
        await queue.advance(seconds=26)
        assert [(await chain.result()).result for chain in chains] == [10, 20, 30]
    assert all(timedelta(seconds=10) <= later - before <= timedelta(seconds=11) for before, later in pairwise(began))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_function_in_a_process_that_takes_too_long_is_killed_and_tried_again(
    place: Place, tmp_path: Path
) -> None:
    worker = place.worker(process_concurrency=1)
    slow = worker.task(name="slow", process=True, timeout=0.5, retry_timeouts=True, max_tries=9, retry_policy=AT_ONCE)(
        process_tasks.hang_once
    )
    async with running(worker):
        outcome = await (await slow.enqueue(str(tmp_path / "mark"))).result(timeout=2 * PATIENCE)  # two processes start
    assert outcome.result == "at last" and outcome.tries > 1


async def test_middleware_and_dependencies_surround_a_task_that_yields(place: Place) -> None:
    worker, told = place.worker(), list[str]()

    async def session() -> AsyncIterator[str]:
        told.append("open")
        yield "session"
        told.append("close")

    @worker.middleware
    def doubled(call_next: Any) -> Any:
        async def wrapper(count: int) -> Any:
            told.append("+")
            try:
                return await call_next(2 * count)
            finally:
                told.append("-")

        return wrapper

    @worker.task
    async def parts(count: int, context: TaskContext, db: str = Depends(session)) -> AsyncIterator[str]:
        for number in range(count):
            yield f"{db} {number} {context.headers['tenant']}"

    async with running(worker):
        task = await parts.enqueue(1).start(headers={"tenant": "acme"})
        assert [part async for part in task.stream()] == ["session 0 acme", "session 1 acme"]
        assert (await task.result(timeout=PATIENCE)).result == 2
    assert told == ["+", "open", "close", "-"]


async def test_nothing_of_an_encrypted_chain_and_its_progress_can_be_read(place: Place) -> None:
    worker = place.worker(encrypt=True)
    told, looked = anyio.Event(), anyio.Event()

    @worker.task
    async def first(word: str) -> str:
        return f"{word} first-plain"

    @worker.task
    async def second(word: str) -> str:
        await second.report("progress-plain")
        told.set()
        await looked.wait()
        return f"{word} second-plain"

    async with running(worker):
        chain = await (first.enqueue("argument-plain") | second)
        await told.wait()
        assert await chain.progress() == "progress-plain"
        seen = await everything_stored(place)
        looked.set()
        assert (await chain.result(timeout=PATIENCE)).result == "argument-plain first-plain second-plain"
        seen += await everything_stored(place)
    assert len(seen) > 1000 and b"plain" not in seen


async def everything_stored(place: Place) -> bytes:
    """All values of the database, behind each other."""
    found: Any = await place.link.command("KEYS", "*")
    return b"".join([await place.link.command("DUMP", key) for key in found])  # type: ignore[misc]


async def test_keys_take_turns_within_a_priority_and_what_has_waited_rises(place: Place) -> None:
    worker = place.worker(priorities=["low", "high"], ageing=0.2, concurrency=1, prefetch=0)
    turns = list[str]()

    @worker.task(fair_by="tenant")
    async def export(tenant: str) -> None:
        turns.append(tenant)

    async with worker:
        await worker.enqueue_many([export.enqueue("old").start(priority="low") for _ in range(2)])
        await anyio.sleep(0.3)  # the time for which these wait is what counts
        large = [export.enqueue("large").start(priority="high") for _ in range(30)]
        await worker.enqueue_many([*large, export.enqueue("small").start(priority="high")])
        await worker.enqueue_many([export.enqueue("late").start(priority="low")])
        worker.burst = True
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
    assert turns[:2] == ["old", "old"], "they have risen above those that came later"
    assert turns.index("small") <= 2 + 8, "of each key eight stand in the queue"
    assert turns.count("large") == 30 and turns[-1] == "late"


async def test_a_task_of_a_router_is_reached_by_its_name_and_by_a_stub_and_is_told_the_headers(place: Place) -> None:
    billing, outer = Router(), Router()

    @billing.task(name="billing.charge", max_tries=4)
    async def charge(amount: int, context: TaskContext) -> str:
        return f"{amount} {context.headers['tenant']} {context.max_tries} {context.timeout}"

    outer.include(billing)
    worker, backend = place.worker(routers=[outer]), place.worker()

    @backend.stub(name="billing.charge", expire=60)
    async def stub(amount: int) -> str: ...  # type: ignore[empty-body]

    @backend.before_enqueue
    def sign(task: Any) -> None:
        task.start(headers={"tenant": "acme"})

    async with running(worker), backend:
        for task in (stub.enqueue(1), backend.enqueue_by_name("billing.charge", 1)):
            await task.start(timeout=5)
            assert (await task.result(timeout=PATIENCE)).result == "1 acme 4 5.0"


async def test_a_limit_on_what_a_run_does_counts_over_all_partitions(place: Place) -> None:
    worker, ran = place.worker(partitions=3, messages_limit=5, prefetch=10), list[int]()

    @worker.task
    async def note(number: int) -> None:
        ran.append(number)

    async with worker:
        await worker.enqueue_many([note.enqueue(number).start(id=f"note-{number}") for number in range(12)])
        assert sum(sum(one.ready.values()) > 0 for one in await worker.partition_counts()) == 3
        for life in (5, 10, 12):
            worker.burst = True
            with anyio.fail_after(PATIENCE):
                report = await worker.run_async()
            assert (len(ran), report.has_done_enough) == (life, life < 12)
    assert sorted(ran) == list(range(12))


async def test_a_unique_call_that_is_retried_keeps_its_key_and_one_that_is_dead_does_not() -> None:
    worker = shop()

    @worker.task(unique_key="customer", max_tries=2, retry_policy=lambda tries: 60, silent=True)
    async def charge(customer: int) -> None:
        raise LookupError

    async with TestWorker(worker, now=START) as queue:
        first = await charge.enqueue(7)
        await queue.drain()
        assert (await charge.enqueue(7)).duplicate_of == first.id, "it waits for its second try"
        await queue.advance(seconds=60)
        assert isinstance((await first.result()).exception, TaskFailed)
        assert (await charge.enqueue(7)).duplicate_of is None
        assert [letter.task_id for letter in await worker.dead_letters()] == [first.id]


async def test_a_group_under_a_limit_is_aborted_as_a_whole(place: Place) -> None:
    worker, proceed = place.worker(concurrency=4), anyio.Event()
    begun = list[int]()

    @worker.task(limits=ConcurrencyLimit(1))
    async def part(number: int) -> int:
        begun.append(number)
        await proceed.wait()
        return number

    @worker.task
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    async with running(worker):
        group = await (worker.group([part.enqueue(number) for number in range(4)]) | total)
        await eventually(lambda: waits_for_permits(worker))
        assert len(begun) == 1
        await worker.abort_workflow(group.id)
        assert await group.status() is TaskStatus.ABORTED
        after = await part.enqueue(9)
        proceed.set()
        assert (await after.result(timeout=PATIENCE)).result == 9, "nobody keeps the permit"
    assert begun[1:] == [9]


async def waits_for_permits(worker: Worker[Any]) -> bool:
    return worker.counters["parked"] >= 3
