"""Poison: whatever stands in whichever key, the worker runs on, good tasks run, and evidence is kept.

Each form is tried on a running worker, on one that finds it at its start, and on the one after that.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgpack
import pytest

from secure_queue import Rejected, ResultTimeout, ResultUnavailable, Task, TaskStatus, Worker
from secure_queue.audit.findings import Code
from secure_queue.clock import now_ms
from secure_queue.payload.envelope import Purpose
from secure_queue.payload.records import TaskHead
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import AT_ONCE, PRIORITY, Place, open_place, running

pytestmark = pytest.mark.anyio

SOON = 10.0  # a good task is run within this time, whatever else lies in the queue
GARBAGE = bytes(range(256)) * 2


def make_worker(place: Place, **options: Any) -> tuple[Worker[Any], Any]:
    worker = place.worker(**({"concurrency": 2, "idle_timeout": 1} | options))

    @worker.task(name="good")
    async def good(number: int) -> int:
        return number

    return worker, good


async def still_works(worker: Worker[Any], good: Any) -> None:
    with anyio.fail_after(SOON):
        task = await good.enqueue(1)
        assert (await task.result(timeout=SOON)).result == 1


async def survives(place: Place, poison: Callable[[], Awaitable[object]], expected: dict[bytes, str]) -> None:
    """The worker lives through *poison*, and the payloads in *expected* are put aside for their reasons."""
    worker, good = make_worker(place)

    async def is_put_aside() -> bool:
        found = await place.quarantine() if expected else {}
        return {task_id: found.get(task_id) for task_id in expected} == expected

    async with running(worker):
        await still_works(worker, good)
        await poison()
        await still_works(worker, good)
        await eventually(is_put_aside)
    await poison()
    for _ in range(2):
        worker, good = make_worker(place)
        async with running(worker):
            await still_works(worker, good)
            await eventually(is_put_aside)
    async with worker:
        assert (await worker.counts()).dead == 0


class Marker:
    """A pickle that leaves a file behind if anybody reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.open, (str(self.path), os.O_CREAT | os.O_WRONLY, 0o600)


LONG_ID = b"x" * 10_000
PAYLOADS: dict[str, tuple[bytes, bytes | None, str]] = {
    "short text": (b"t1", b"hello", "too-short"),
    "text": (b"t1", b"hello " * 50, "not-an-envelope"),
    "binary": (b"t1", GARBAGE, "not-an-envelope"),
    "nothing": (b"t1", b"", "too-short"),
    "no payload": (b"t1", None, "missing-payload"),
    "3 MiB": (b"t1", b"\xc1SQ" + b"x" * (3 << 20), "too-large"),
    "an envelope of zeros": (b"t1", b"\xc1SQ\x02\x01" + bytes(300), "unknown-key"),
    "another version": (b"t1", b"\xc1SQ\x01\x01" + bytes(300), "unknown-version"),
    "another suite": (b"t1", b"\xc1SQ\x02\x00" + bytes(300), "suite-not-allowed"),
    "unsigned msgpack": (b"t1", msgpack.packb({"fn": "good", "args": [1], "pad": "x" * 64}), "not-an-envelope"),
    "unsigned json": (b"t1", b'{"function": "good", "args": [1], "kwargs": {}, "pad": "xxxxxxxx"}', "not-an-envelope"),
    "an id of 0xFF bytes": (b"\xff\xff\xff", GARBAGE, "bad-id"),
    "an id of 0xFF bytes without a payload": (b"\xff\xff\xff", None, "missing-payload"),
    "an empty id": (b"", GARBAGE, "not-an-envelope"),
    "an empty id without a payload": (b"", None, "missing-payload"),
    "an id of 10 kB": (LONG_ID, GARBAGE, "not-an-envelope"),
    "an id of 10 kB without a payload": (LONG_ID, None, "missing-payload"),
    "an id with a newline": (b"a\nFAKE LOG LINE", GARBAGE, "not-an-envelope"),
    "an id that looks like a run record": (b"!rt1", GARBAGE, "not-an-envelope"),
    "an id with a zero byte": (b"\0", None, "missing-payload"),
}


@pytest.mark.attack(7, 27, 40, 57)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", PAYLOADS)
async def test_payloads_that_are_none_are_put_aside(place: Place, name: str, caplog: pytest.LogCaptureFixture) -> None:
    task_id, payload, reason = PAYLOADS[name]
    await survives(place, lambda: place.put_raw(task_id, payload), {task_id: reason})
    for record in caplog.records:  # and nobody writes log lines of his own
        assert record.getMessage().isprintable() and len(record.getMessage()) < 400
        assert "hello" not in record.getMessage()


@pytest.mark.attack(27)
async def test_all_of_them_at_once(place: Place) -> None:
    async def poison() -> None:
        for number, (task_id, payload, _) in enumerate(PAYLOADS.values()):
            if number:  # the rest would be the same id again
                await place.put_raw(task_id + b"%d" % number, payload)

    await survives(place, poison, {})
    async with place.worker() as worker:
        assert (await worker.counts()).quarantined >= len(PAYLOADS) - 1
        assert await worker.queue_size() == 0


STRUCTURES = ["meta", "leases", "wake", "results", "dead", "aborts", "workers", "quarantine", "ready", "due", "claim"]


@pytest.mark.attack(27)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("structure", STRUCTURES)
async def test_a_string_where_a_structure_should_be_is_moved_aside(place: Place, structure: str) -> None:
    keys = place.keys
    key = {
        "ready": keys.ready[PRIORITY],
        "due": keys.due[PRIORITY],
        "claim": keys.last_claim("poisoned"),
    }.get(structure) or getattr(keys, structure)

    async def poison() -> None:
        await place.link.command("SET", key, "poison")

    await survives(place, poison, {})


async def put_list(place: Place, key: bytes) -> None:
    """Put a list under *key*, whatever is there and whoever writes to it meanwhile."""
    made = place.keys.prefix + b"made"
    await place.link.command("RPUSH", made, "poison")
    await place.link.command("RENAME", made, key)


@pytest.mark.attack(27)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_lists_where_the_tasks_should_be_are_moved_aside(place: Place) -> None:
    async def poison() -> None:
        for bucket in place.keys.buckets:
            await put_list(place, bucket)

    await survives(place, poison, {})


@pytest.mark.attack(27)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_list_where_a_result_should_be_is_moved_aside(place: Place) -> None:
    worker, good = make_worker(place)
    async with running(worker):
        task = good.enqueue(1)
        key = place.keys.result(task.id.encode())
        await task
        await put_list(place, key)
        with anyio.move_on_after(SOON):
            assert await task.status() in TaskStatus
        await still_works(worker, good)


@pytest.mark.attack(27)
async def test_a_string_under_every_key_at_once(place: Place) -> None:
    async def poison() -> None:
        keys = place.keys
        fixed = [keys.meta, keys.leases, keys.wake, keys.results, keys.dead, keys.aborts, keys.workers, keys.quarantine]
        for key in (*fixed, *keys.buckets, *keys.ready.values(), *keys.due.values()):
            await place.link.command("SET", key, "poison")

    await survives(place, poison, {})


@pytest.mark.attack(27)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("entry", ["dead", "results", "leases", "aborts", "due"])
async def test_entries_of_nobody_in_an_index_are_harmless(place: Place, entry: str) -> None:
    ids = [b"nobody", b"\xff\n", b"", b"x" * 10_000]

    async def poison() -> None:
        for number, task_id in enumerate(ids):
            if entry == "aborts":
                await place.link.command("HSET", place.keys.aborts, task_id, GARBAGE)
            else:
                key = place.keys.due[PRIORITY] if entry == "due" else getattr(place.keys, entry)
                await place.link.command("ZADD", key, (b"-inf", b"1", b"4000000000000", b"inf")[number], task_id)

    worker, good = make_worker(place)
    await poison()
    async with running(worker):
        await still_works(worker, good)
        await poison()
        for status in TaskStatus:
            await worker.get_tasks_by_status(status)
        await worker.dead_letters()
        await still_works(worker, good)


RECORDS = [
    b"abc",
    b"99:x:y",
    b"99!:x:y",
    b"-1",
    b"",
    b"1:normal:somebody",
    b"12345:normal:",
    b"1:normal",
    b"\xff:\n:\0",
    b"0::-x",
]


@pytest.mark.attack(29)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("record", RECORDS)
async def test_a_forged_run_record_delays_or_ends_its_own_task_only(place: Place, record: bytes) -> None:
    worker, good = make_worker(place)
    async with worker:
        victim = await good.enqueue(2)
        task_id = victim.id.encode()
        await place.link.command("HSET", place.keys.bucket(task_id), b"!r" + task_id, record)
    async with running(worker):
        await still_works(worker, good)
        outcome = await victim.result(timeout=PATIENCE)
        assert outcome.success or "WorkerLost" in str(outcome.exception)
        assert outcome.success == (record != b"99!:x:y")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("clock", [b"abc", b"253402300799000", b"-1", b"inf", b"nan", b"", GARBAGE])
async def test_a_forged_clock_does_not_stop_the_queue(place: Place, clock: bytes) -> None:
    worker, good = make_worker(place)
    async with running(worker):
        await place.link.command("HSET", place.keys.meta, "clock", clock)
        await still_works(worker, good)
        later = await good.enqueue(2).start(delay=0.1)
        far = await good.enqueue(3).start(delay=600)
        await place.link.command("HSET", place.keys.meta, "clock", clock)
        assert (await later.result(timeout=SOON)).result == 2
        assert await far.status() is TaskStatus.SCHEDULED


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("waiters", [b"", b"\n\n", GARBAGE, b"\0" * 20_000, b"a\nb\nc"])
async def test_garbage_among_the_waiters_does_not_keep_the_result_back(place: Place, waiters: bytes) -> None:
    worker, good = make_worker(place)
    async with worker:
        task = await good.enqueue(2)
        await place.link.command("HSET", place.keys.bucket(task.id.encode()), f"!w{task.id}", waiters)
    async with running(worker):
        assert (await task.result(timeout=SOON)).result == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_forged_leases_take_nothing_from_a_running_task_but_its_only_run(place: Place) -> None:
    worker, good = make_worker(place)
    runs: list[int] = []
    proceed = anyio.Event()

    @worker.task
    async def wait() -> int:
        runs.append(1)
        await proceed.wait()
        return len(runs)

    async with running(worker):
        task = await wait.enqueue()
        await eventually(lambda: _true(runs))
        await place.link.command("ZADD", place.keys.leases, 0, task.id, 0, "nobody", b"inf", "\xff", -1, "")
        await still_works(worker, good)
        proceed.set()
        assert (await task.result(timeout=SOON)).result in (1, 2)


async def _true(value: object) -> bool:
    return bool(value)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_with_many_entries_runs_once(place: Place) -> None:
    worker, good = make_worker(place)
    runs: list[int] = []

    @worker.task(ttl=0)
    async def note() -> None:
        runs.append(1)

    async with worker:
        task = await note.enqueue()
        await place.link.command("RPUSH", place.keys.ready[PRIORITY], *[task.id] * 50)
    async with running(worker):
        await place.link.command("RPUSH", place.keys.ready[PRIORITY], *[task.id] * 50)
        await still_works(worker, good)
        assert await worker.queue_size() == 0
    assert runs == [1]
    assert await place.quarantine() == {}


@pytest.mark.attack(36)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_forged_abort_mark_is_ignored(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    worker, good = make_worker(place)
    started, proceed = anyio.Event(), anyio.Event()

    @worker.task
    async def wait() -> str:
        started.set()
        await proceed.wait()
        return "not aborted"

    async with running(worker):
        task, other = await wait.enqueue(), await good.enqueue(1).start(delay=600)
        await started.wait()
        genuine: Any = await place.link.command("HGET", place.keys.bucket(other.id.encode()), other.id)
        for mark in (b"1", GARBAGE, genuine):
            await place.link.command("HSET", place.keys.aborts, task.id, mark)
            seen = len(caplog.records)
            await eventually(lambda: _true("ignored" in "".join(r.getMessage() for r in caplog.records[seen:])))  # noqa: B023
        proceed.set()
        assert (await task.result(timeout=SOON)).result == "not aborted"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("forged", [b"", b"x", GARBAGE, b"\xc1SQ\x02\x01" + bytes(300)])
async def test_a_forged_result_is_rejected_by_the_caller_and_no_matter_to_the_worker(
    place: Place, forged: bytes
) -> None:
    worker, good = make_worker(place)
    async with running(worker):
        task = await good.enqueue(1)
        await task.result(timeout=SOON)
        await place.link.command("SET", place.keys.result(task.id.encode()), forged)
        with pytest.raises(Rejected):
            await task.result(timeout=SOON)
        with pytest.raises(Rejected):
            await task.status()
        await still_works(worker, good)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_forged_result_of_a_task_that_runs_is_replaced_by_the_true_one(place: Place) -> None:
    worker, good = make_worker(place)
    async with worker:
        task = await good.enqueue(1)
        await place.link.command("SET", place.keys.result(task.id.encode()), GARBAGE)
        with pytest.raises(Rejected):
            await task.result(timeout=SOON)
    async with running(worker):
        await still_works(worker, good)
        assert (await task.result(timeout=SOON)).result == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_nobody_without_a_key_says_that_a_task_has_finished(place: Place) -> None:
    worker, good = make_worker(place)
    started, proceed = anyio.Event(), anyio.Event()

    @worker.task(name="wait")
    async def wait() -> None:
        started.set()
        await proceed.wait()

    @worker.task(name="quiet", ttl=0)
    async def quiet() -> None: ...

    async with running(worker):
        finished, unkept, runs = await good.enqueue(1), await quiet.enqueue(), await wait.enqueue()
        queued = await good.enqueue(2).start(delay=600)
        await finished.result(timeout=SOON)
        await started.wait()
        genuine = await mark_of(place, unkept)
        for forged in (b"-", b"-forged", b"-w.1", b"-" + GARBAGE, genuine, genuine[1:]):
            for task, standing in ((queued, TaskStatus.SCHEDULED), (runs, TaskStatus.RUNNING)):
                await place.link.command("SET", place.keys.result(task.id.encode()), forged)
                assert await task.status() is standing
                with pytest.raises((ResultTimeout, Rejected)):
                    await task.result(timeout=0.01)
            for task_id in (finished.id, "nobody-knows-it"):
                await place.link.command("SET", place.keys.result(task_id.encode()), forged)
                for call in (
                    partial(worker.result_by_id, task_id, timeout=SOON),
                    partial(worker.status_by_id, task_id),
                ):
                    with pytest.raises(Rejected):
                        await call()
        proceed.set()


async def mark_of(place: Place, task: Task[Any]) -> bytes:
    """What a task whose result is not kept has left in its place."""
    key = place.keys.result(task.id.encode())
    await eventually(lambda: place.link.command("EXISTS", key))
    found: Any = await place.link.command("GET", key)
    return bytes(found)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_mark_of_a_result_that_was_not_kept_counts_for_this_very_enqueue_alone(place: Place) -> None:
    worker, good = make_worker(place)
    runs: list[int] = []

    @worker.task(name="quiet", ttl=0)
    async def quiet(number: int) -> None:
        runs.append(number)

    async with running(worker):
        first = await quiet.enqueue(1).start(id="order-17")
        mark = await mark_of(place, first)
        assert await first.status() is TaskStatus.DONE
        with pytest.raises(ResultUnavailable):
            await first.result(timeout=SOON)
        assert (await worker.audit()).findings == []
        await place.link.command("DEL", place.keys.result(b"order-17"))
        second = await quiet.enqueue(2).start(id="order-17", delay=600)
        await place.link.command("HDEL", place.keys.bucket(b"order-17"), b"order-17")
        for stored in (mark, mark[1:]):  # what stands before a mark is a hint, like all that is not sealed
            await place.link.command("SET", place.keys.result(b"order-17"), stored)
            for call in (partial(second.result, SOON), second.status):
                with pytest.raises(Rejected, match="wrong-ref"):
                    await call()
        await place.link.command("SET", place.keys.result(b"order-17"), b"-forged")
        report = await worker.audit()
        assert (Code.UNSIGNED, "order-17") in {(found.code, found.id) for found in report.findings}
        await still_works(worker, good)
    assert runs == [1]


@pytest.mark.attack(21)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_forged_result_that_is_pushed_is_ignored_and_the_stored_one_is_used(place: Place) -> None:
    worker, good = make_worker(place)
    proceed = anyio.Event()
    got: list[Any] = []

    @worker.task
    async def wait() -> str:
        await proceed.wait()
        return "genuine"

    async with running(worker):
        other = await good.enqueue(1)
        await other.result(timeout=SOON)
        stored: Any = await place.link.command("GET", place.keys.result(other.id.encode()))
        task = await wait.enqueue()

        async def ask() -> None:
            got.append((await task.result(timeout=PATIENCE)).result)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            field = f"!w{task.id}"
            await eventually(lambda: place.link.command("HEXISTS", place.keys.bucket(task.id.encode()), field))
            channel: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), field)
            for forged in (GARBAGE, b"", stored, b"-"):
                await place.link.command("PUBLISH", channel, task.id.encode() + b"\0" + forged)
            for message in (b"", b"\0", GARBAGE, b"no separator"):
                await place.link.command("PUBLISH", channel, message)
            await anyio.wait_all_tasks_blocked()
            assert got == []
            proceed.set()
    assert got == ["genuine"]


@pytest.mark.attack(1, 2)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_malicious_pickle_is_never_read(place: Place, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    bomb = pickle.dumps(Marker(marker))
    worker, good = make_worker(place)
    for padding in (b"", b"\0" * 500):
        await survives(place, lambda: place.put_raw(b"t1", bomb + padding), {})  # noqa: B023
    async with running(worker):
        task = await good.enqueue(1)
        await task.result(timeout=SOON)
        await place.link.command("SET", place.keys.result(task.id.encode()), bomb)
        with pytest.raises(Rejected):
            await task.result(timeout=SOON)
        await place.link.command("HSET", place.keys.bucket(b"dead1"), "dead1", bomb, "!ddead1", bomb)
        await place.link.command("ZADD", place.keys.dead, now_ms(), "dead1")
        await worker.dead_letters()
        with pytest.raises(Rejected):
            await worker.retry_dead_letter("dead1")
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists()  # it would have worked


class Shape(NamedTuple):
    """A payload that a holder of the key has sealed, and that ``enqueue`` would never make."""

    value: object
    head: bytes = b""


SHAPES: dict[str, Shape] = {
    "a number": Shape(5),
    "text": Shape("ab"),
    "a map": Shape({"a": 1}),
    "one half": Shape([[]]),
    "three halves": Shape([[], {}, {}]),
    "arguments that are no list": Shape([{}, {}]),
    "names that are no text": Shape([[], {b"number": 1}]),
    "nothing": Shape(None),
    "a head of garbage": Shape([[1], {}], GARBAGE),
    "a head of another type": Shape([[1], {}], msgpack.packb([1])),
    "a head with an unknown field": Shape([[1], {}], msgpack.packb({99: 1})),
}


async def put_sealed(
    place: Place, worker: Worker[Any], shape: Shape, task_id: str = "t1", function: str = "good"
) -> None:
    body = worker._codec.serializer.dumps(shape.value)
    assert isinstance(body, bytes)
    now = now_ms()
    sealed = worker._codec.seal(Purpose.TASK, task_id, function, shape.head, body, now_ms=now, jti=os.urandom(16))
    await place.put_raw(task_id.encode(), sealed)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", SHAPES)
async def test_a_genuine_payload_of_a_wrong_shape_is_put_aside(place: Place, name: str) -> None:
    worker, _ = make_worker(place)
    await survives(place, lambda: put_sealed(place, worker, SHAPES[name]), {b"t1": "malformed"})


HEADS = {
    "no tries at all": TaskHead(max_tries=0),
    "no time at all": TaskHead(timeout_ms=0),
    "a lifetime without end": TaskHead(ttl_ms=(1 << 63) - 1),
    "a timeout without end": TaskHead(timeout_ms=(1 << 63) - 1),
    "a priority that nobody has": TaskHead(priority="nobody"),
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", HEADS)
async def test_genuine_options_beyond_reason_concern_that_task_only(place: Place, name: str) -> None:
    worker, good = make_worker(place)
    async with running(worker):
        await put_sealed(place, worker, Shape([[7], {}], HEADS[name].pack()))
        outcome = await worker.result_by_id("t1", timeout=SOON)
        assert outcome.success or outcome.status is TaskStatus.FAILED
        if not outcome.success:
            await worker.retry_dead_letter("t1")
        await still_works(worker, good)


@pytest.mark.attack(27)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("act", [object, lambda: (_ for _ in ()).throw(ValueError(object()))])
async def test_what_a_task_returns_or_raises_and_nobody_can_serialize_fails_that_task(
    place: Place, act: Callable[[], Any]
) -> None:
    worker, good = make_worker(place)

    @worker.task(retry_policy=AT_ONCE)
    async def hostile() -> Any:
        return act()

    async with running(worker):
        assert not (await (await hostile.enqueue()).result(timeout=SOON)).success
        await still_works(worker, good)


@pytest.mark.attack(38)
async def test_scripts_that_are_flushed_all_the_time_lose_nothing(real_server: Server) -> None:
    async with open_place("server", real_server) as place:
        worker, good = make_worker(place)
        async with running(worker):
            tasks = [good.enqueue(number) for number in range(200)]
            async with anyio.create_task_group() as group:

                async def flush() -> None:
                    while True:
                        await place.link.command("SCRIPT FLUSH")
                        await anyio.sleep(0.005)  # how often, not a time to wait for something

                group.start_soon(flush)
                for task in tasks:
                    await task
                assert [(await task.result(timeout=SOON)).result for task in tasks] == list(range(200))
                group.cancel_scope.cancel()
