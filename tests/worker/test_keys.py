"""Keys through the public API: unique calls and runs, debounce and throttle, order per key, turns between keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from secure_queue import (
    ConcurrencyLimit,
    ConfigurationError,
    Rejected,
    Task,
    TaskFailed,
    TaskNotFound,
    TaskStatus,
    Worker,
)
from secure_queue.cli.quarantine import _release_all
from secure_queue.errors import DuplicateTask
from secure_queue.partitions import generated_id, named_partition
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.redis.keys import QueueKeys
from tests.servers import PATIENCE, eventually
from tests.worker.places import PRIORITY, QUEUE, Place, running

pytestmark = pytest.mark.anyio


async def test_a_call_whose_key_is_taken_leads_to_the_task_that_counts(place: Place) -> None:
    worker = place.worker()
    gate, ran = anyio.Event(), list[int]()

    @worker.task(unique_key="customer")
    async def charge(customer: int, amount: int) -> int:
        ran.append(amount)
        await gate.wait()
        return amount

    async with running(worker):
        first = await charge.enqueue(1, 10)
        await eventually(lambda: _is_true(ran))
        second, other = charge.enqueue(1, amount=20), charge.enqueue(2, 30)
        await worker.enqueue_many([second, other])
        assert (first.existed, first.duplicate_of) == (False, None) == (other.existed, other.duplicate_of)
        assert (second.existed, second.duplicate_of, second.id) == (True, first.id, first.id)
        gate.set()
        assert (await second.result(PATIENCE)).result == 10
        again = await charge.enqueue(1, 40)
        assert again.duplicate_of is None and (await again.result(PATIENCE)).result == 40
        assert (await other.result(PATIENCE)).result == 30
    assert sorted(ran) == [10, 30, 40]


async def _is_true(value: object) -> bool:
    return bool(value)


async def test_a_call_may_want_an_error_or_replace_the_one_that_waits(place: Place) -> None:
    worker = place.worker()

    @worker.task(unique="queued", unique_key=lambda customer, **_: customer)
    async def charge(customer: int, amount: int = 0) -> int:
        return amount

    async with worker:
        first = await charge.enqueue(1, amount=1)
        with pytest.raises(DuplicateTask, match=first.id) as caught:
            await charge.enqueue(1).start(on_conflict="raise")
        assert caught.value.task_id == first.id
        last = await charge.enqueue(1, amount=2).start(on_conflict="replace")
        by_text = await charge.enqueue(1).start(unique_key="another")
        free = await charge.enqueue(1).start(unique=False)
        assert (last.duplicate_of, by_text.duplicate_of, free.duplicate_of) == (None, None, None)
    async with running(worker):
        assert (await last.result(PATIENCE)).result == 2
        assert (await by_text.result(PATIENCE)).success and (await free.result(PATIENCE)).success
        with pytest.raises(TaskNotFound):
            await first.result(PATIENCE)


async def test_one_that_waits_for_a_permit_or_the_end_of_a_pause_does_not_count_as_running(place: Place) -> None:
    worker = place.worker(concurrency=8)
    gate, begun = anyio.Event(), anyio.Event()

    @worker.task(limits=ConcurrencyLimit(1, name="one"))
    async def hold() -> None:
        begun.set()
        await gate.wait()

    @worker.task(name="sync", unique=True, limits=ConcurrencyLimit(1, name="one"))
    async def sync(number: int) -> int:
        return number

    async with running(worker):
        await hold.enqueue()
        await begun.wait()
        tasks = [await sync.enqueue(number) for number in range(4)]
        await eventually(lambda: _counted(worker, "parked", 4))
        gate.set()
        assert sorted([(await task.result(PATIENCE)).result for task in tasks]) == [0, 1, 2, 3]


async def _counted(worker: Worker[Any], name: str, number: int) -> bool:
    return worker.counters[name] >= number


async def test_of_a_unique_task_one_runs_and_one_that_gets_its_turn_meanwhile_fails(place: Place) -> None:
    worker = place.worker()
    gate, begun = anyio.Event(), anyio.Event()

    @worker.task(unique=True)
    async def sync(name: str) -> str:
        begun.set()
        await gate.wait()
        return name

    async with running(worker):
        first = await sync.enqueue("a")
        await begun.wait()
        second = await (await sync.enqueue("b")).result(PATIENCE)
        assert not second.success and second.status is TaskStatus.FAILED
        assert isinstance(second.exception, TaskFailed) and second.exception.remote_type == "secure_queue.NotUnique"
        gate.set()
        assert (await first.result(PATIENCE)).result == "a"
        assert (await (await sync.enqueue("c")).result(PATIENCE)).result == "c"


async def test_of_a_unique_task_one_runs_in_all_partitions_together(place: Place) -> None:
    worker = place.worker(partitions=3, concurrency=8)
    gate, begun = anyio.Event(), list[str]()

    @worker.task(unique=True, max_tries=1, silent=True)
    async def sync(name: str) -> str:
        begun.append(name)
        await gate.wait()
        return name

    async def succeeds() -> bool:
        """Its seat is given back a moment after the end of a run."""
        return (await (await sync.enqueue("late")).result(PATIENCE)).success

    async with running(worker):
        handles = [sync.enqueue(f"{partition}") for partition in range(3) for _ in range(2)]
        for handle in handles:
            handle.id = generated_id(handle.jti, int(handle.args[0]))
        await worker.enqueue_many(handles)
        await eventually(lambda: _counted(worker, "failed", 5))
        gate.set()
        outcomes = [await handle.result(PATIENCE) for handle in handles]
        assert [outcome.result for outcome in outcomes if outcome.success] == begun and len(begun) == 1
        assert {str(one.exception.remote_type) for one in outcomes if not one.success} == {"secure_queue.NotUnique"}  # type: ignore[attr-defined]
        await eventually(succeeds)


async def test_of_a_unique_task_one_runs_while_the_queue_gets_its_second_partition(place: Place) -> None:
    one, two = place.worker(), place.worker(partitions=2)
    gate, begun = anyio.Event(), list[str]()

    async def sync(name: str) -> str:
        begun.append(name)
        await gate.wait()
        return name

    before, since = (worker.task(name="sync", unique=True, max_tries=1, silent=True)(sync) for worker in (one, two))
    async with running(one):
        first = await before.enqueue("in a queue of one partition")
        await eventually(lambda: _is_true(begun))
        async with running(two):
            second = since.enqueue("in the second one")
            second.id = generated_id(second.jti, 1)
            refused = (await (await second).result(PATIENCE)).exception
            assert isinstance(refused, TaskFailed) and refused.remote_type == "secure_queue.NotUnique"
            assert first.id in str(refused)
            gate.set()
            assert (await first.result(PATIENCE)).success
    assert begun == ["in a queue of one partition"]


async def test_of_calls_close_together_the_last_one_runs(place: Place) -> None:
    worker = place.worker()
    ran = list[int]()

    @worker.task(debounce=0.3, unique_key="document")
    async def index(document: int, version: int) -> None:
        ran.append(version)

    async with running(worker):
        handles = [await index.enqueue(1, version) for version in range(3)]
        assert [handle.duplicate_of for handle in handles] == [None] * 3
        assert (await handles[-1].result(PATIENCE)).success
        with pytest.raises(ConfigurationError, match="says when a call runs"):
            await index.enqueue(1, 5).start(delay=5)
    assert ran == [2]


async def test_of_calls_close_together_the_first_one_runs(place: Place) -> None:
    worker = place.worker()
    ran = list[int]()

    @worker.task(throttle=600)
    async def refresh(number: int) -> int:
        ran.append(number)
        return number

    async with running(worker):
        handles = [await refresh.enqueue(number) for number in range(3)]
        assert [(await handle.result(PATIENCE)).result for handle in handles] == [0, 0, 0]
        again = await refresh.enqueue(3)
        assert again.duplicate_of == handles[0].id
    assert ran == [0]


async def test_tasks_of_one_key_run_in_their_order_and_those_of_others_beside_them(place: Place) -> None:
    worker = place.worker(concurrency=8)
    order: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    at_work = set[str]()

    @worker.task(order_by="account", retry_policy=lambda tries: 0.01)
    async def book(account: str, number: int) -> None:
        assert account not in at_work
        at_work.add(account)
        await anyio.lowlevel.checkpoint()
        at_work.remove(account)
        if number == 3 and book.context.tries == 1:
            raise ValueError("once more")
        order[account].append(number)

    async with running(worker):
        handles = [book.enqueue(account, number) for number in range(8) for account in order]
        await worker.enqueue_many(handles)
        results = [await handle.result(PATIENCE) for handle in handles]
    assert all(result.success for result in results)
    assert order == {account: list(range(8)) for account in order}


async def test_a_call_that_waits_for_the_end_of_another_runs_after_it(place: Place) -> None:
    worker = place.worker()
    running_now, most = 0, 0

    @worker.task(unique="unfinished", on_conflict="wait")
    async def report(day: int) -> int:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await anyio.sleep(0.01)
        running_now -= 1
        return day

    async with running(worker):
        handles = [report.enqueue(1) for _ in range(3)]
        await worker.enqueue_many(handles)
        assert [(await handle.result(PATIENCE)).result for handle in handles] == [1, 1, 1]
    assert most == 1


async def test_keys_take_turns(place: Place) -> None:
    worker = place.worker(concurrency=1, prefetch=0)
    ran = list[str]()

    @worker.task(fair_by="tenant")
    async def export(tenant: str) -> None:
        ran.append(tenant)

    async with worker:
        await worker.enqueue_many([export.enqueue("large") for _ in range(40)])
        await worker.enqueue_many([export.enqueue("small") for _ in range(4)])
    async with running(worker):
        await eventually(lambda: _is_true(len(ran) == 44))
    assert ran.count("small") == 4
    assert "small" not in ran[:8] and "small" not in ran[12:]


async def test_dead_letters_of_a_fair_key_take_turns_when_they_are_put_back(place: Place) -> None:
    worker = place.worker(concurrency=1, prefetch=0)
    ran, is_repaired = list[str](), False

    @worker.task(fair_by="tenant", max_tries=1, silent=True)
    async def export(tenant: str) -> None:
        if not is_repaired:
            raise LookupError
        ran.append(tenant)

    large = [export.enqueue("large") for _ in range(30)]
    async with running(worker):
        await worker.enqueue_many(large)
        assert not any([(await task.result(PATIENCE)).success for task in large])
    is_repaired = True
    async with worker:
        for task in large:
            await worker.retry_dead_letter(task.id)
        await worker.enqueue_many([export.enqueue("small") for _ in range(5)])
        counts = await worker.counts()
        assert (counts.ready, counts.in_lines, counts.dead) == ({PRIORITY: 13}, {PRIORITY: 22}, 0)
    async with running(worker):
        await eventually(lambda: _is_true(len(ran) == 35))
    assert ran == ["large"] * 8 + ["small"] * 5 + ["large"] * 22


async def test_what_was_put_aside_and_is_released_stands_in_its_line_again(place: Place) -> None:
    worker, ran = place.worker(), list[int]()

    @worker.task(order_by="account")
    async def book(account: str, number: int) -> None:
        ran.append(number)

    async with worker:
        await put_aside(place, book.enqueue("a", 1))
        await worker.enqueue_many([book.enqueue("a", 2), book.enqueue("a", 3)])
        assert await _release_all(worker) == (1, 0)
        counts = await worker.counts()
        assert (counts.ready, counts.in_lines) == ({PRIORITY: 1}, {PRIORITY: 2})
    async with running(worker):
        await eventually(lambda: _is_true(len(ran) == 3))
    assert ran == [2, 3, 1]


async def test_what_was_put_aside_is_not_released_while_another_of_its_key_counts(place: Place) -> None:
    worker = place.worker()

    @worker.task(unique_key="account")
    async def book(account: str) -> None: ...

    async with worker:
        first = book.enqueue("a")
        await put_aside(place, first)
        second = await book.enqueue("a")
        assert second.duplicate_of is None
        [kept] = [kept async for kept in worker.quarantined()]
        with pytest.raises(DuplicateTask, match=second.id):
            await worker.release(kept.entry)
        assert await _release_all(worker) == (0, 1)
    async with running(worker):
        assert (await second.result(PATIENCE)).success
        assert await _release_all(worker) == (1, 0)
        assert (await worker.result_by_id(first.id, PATIENCE)).success


async def put_aside(place: Place, task: Task[Any]) -> None:
    """Enqueue a task, and have it met by a worker that does not hold its key."""
    await task
    async with running(place.worker(signing_secret=format_key(generate_key("another")))):
        await eventually(lambda: _is_put_aside(place))


async def _is_put_aside(place: Place) -> bool:
    return bool(await place.quarantine())


async def test_the_key_of_a_call_decides_its_partition(place: Place) -> None:
    worker = place.worker(partitions=4)

    @worker.task(order_by="account")
    async def book(account: int) -> None: ...

    @worker.task(order_by="account", unique_key="document")
    async def file(account: int, document: int) -> None: ...

    async with running(worker):
        handles = [book.enqueue(account) for account in range(12) for _ in range(2)]
        await worker.enqueue_many(handles)
        assert all([(await handle.result(PATIENCE)).success for handle in handles])
        partitions = [named_partition(handle.id) for handle in handles]
        assert partitions[::2] == partitions[1::2] and len(set(partitions)) > 1
        for partition in range(4):
            keys = QueueKeys(QUEUE, (PRIORITY,), partition)
            assert await place.link.command("EXISTS", keys.lines) == 0
        elsewhere = book.enqueue(0)
        elsewhere.id = generated_id(elsewhere.jti, 3 - (partitions[0] or 0))
        with pytest.raises(ConfigurationError, match="decides its id"):
            await elsewhere
        with pytest.raises(ConfigurationError, match="has one key"):
            await file.enqueue(1, 2)


async def test_what_cannot_keep_a_key_is_refused(place: Place) -> None:
    worker = place.worker()

    @worker.task(unique_key="number")
    async def one(number: int) -> None: ...

    async with worker:
        with pytest.raises(ConfigurationError, match="neither repeated by a schedule nor part of a workflow"):
            await one.enqueue(1).start(schedule="* * * * *")
        with pytest.raises(ConfigurationError, match="neither repeated by a schedule nor part of a workflow"):
            await one.enqueue(1).then(one.enqueue(2))
        with pytest.raises(ConfigurationError, match="without its keys"):
            worker.cron("* * * * *")(one)


async def test_a_task_by_its_import_path_has_its_keys_by_the_parameters_of_its_function(place: Place) -> None:
    worker = place.worker()
    square = worker.add("tests.worker.process_tasks.square", unique=True, unique_key="number", order_by="number")
    who = worker.add("tests.worker.process_tasks.who")
    async with worker:
        with pytest.raises(ConfigurationError, match="by name"):
            await square.enqueue(3)
    async with running(worker):
        tasks = [await square.enqueue(3), await worker.enqueue_by_name("square", number=4)]
        assert [(await task.result(PATIENCE)).result[0] for task in tasks] == [9, 16]
        assert who.settings.process, "its options are those that it was declared with"
    other = place.worker(tasks=["tests.worker.process_tasks.square"])
    other.add("tests.worker.process_tasks.square", name="again", unique_key="no_such")
    with pytest.raises(ConfigurationError, match="no parameter 'no_such'"):
        await other.run_async()


async def test_nothing_of_a_call_can_be_read_in_its_key(place: Place) -> None:
    worker = place.worker(encrypt=True)

    @worker.task(unique_key="iban", order_by="iban")
    async def pay(iban: str) -> None: ...

    async with worker:
        await pay.enqueue("DE02120300000000202051")
    for key in (place.keys.unique, place.keys.lines):
        assert b"DE02" not in bytes(await place.link.command("DUMP", key))  # type: ignore[arg-type]
    stored = await place.link.command("HGETALL", place.keys.unique)
    assert stored and not any(b"DE02" in part for part in stored)  # type: ignore[operator,union-attr]


@pytest.mark.parametrize("forged", [b"0:0:\xff\xfe", b"junk"])
async def test_an_entry_that_names_no_task_stands_in_nobodys_way(place: Place, forged: bytes) -> None:
    async with _forged(place, forged) as call:
        assert (await call).duplicate_of is None
        assert (await call.result(PATIENCE)).result == 1


async def test_whoever_writes_to_the_database_can_keep_a_call_out_and_no_more(place: Place) -> None:
    """The result of the task that is named is opened like any other."""
    async with _forged(place, b"9999999999999:0:made-up") as call:
        assert (await call).duplicate_of == "made-up"
        with pytest.raises(TaskNotFound):
            await call.result(PATIENCE)
    async with _forged(place, b"9999999999999:0:no such \n") as call:
        with pytest.raises(Rejected, match="bad-id"):
            await call


@asynccontextmanager
async def _forged(place: Place, entry: bytes) -> AsyncIterator[Task[int]]:
    """A call whose key has an entry that somebody without a signing key has made."""
    worker = place.worker()

    @worker.task(unique_key="number")
    async def one(number: int) -> int:
        return number

    await place.link.command("DEL", place.keys.unique)
    async with running(worker):
        await (await one.enqueue(1)).result(PATIENCE)
        found = await place.link.command("HKEYS", place.keys.unique)
        for digest in found or [b"swept already"]:  # type: ignore[union-attr]
            await place.link.command("HSET", place.keys.unique, digest, entry)  # type: ignore[arg-type]
        yield one.enqueue(1)


async def test_an_audit_of_lines_is_clean(place: Place) -> None:
    worker = place.worker()

    @worker.task(order_by="customer", unique_key="number")
    async def book(customer: str, number: int) -> None: ...

    async with worker:
        await worker.enqueue_many([book.enqueue("a", number) for number in range(3)])
        report = await worker.audit()
        assert (list(report.findings), report.exit_code) == ([], 0)
