"""Hints: what stands in Redis outside an envelope. A lie in one may delay, drop or repeat work; it chooses nothing.

The other hints have their tests elsewhere: due times in ``test_moved_payloads``; run records, leases, clocks, waiters and
abort marks in ``test_poison``; signs of an end in ``test_replays``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue import ConcurrencyLimit, RateLimit, TaskStatus, Worker
from secure_queue.clock import now_ms
from secure_queue.limits import Limit
from secure_queue.payload.codec import Purpose
from secure_queue.payload.restricted_pickle import RestrictedPickle
from tests.attack.test_poison import Marker
from tests.servers import PATIENCE, eventually
from tests.worker.places import PRIORITY, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

FAR = b"4000000000000"


def make_worker(place: Place, runs: list[int], **options: Any) -> tuple[Worker[Any], Any]:
    worker = place.worker(**({"concurrency": 2, "idle_timeout": 1} | options))

    @worker.task(name="note")
    async def note(number: int) -> int:
        runs.append(number)
        return number

    return worker, note


async def last_claim(place: Place, worker: Worker[Any]) -> None:
    """The list by which a repeated claim is known, with another token, ids of others, and garbage."""
    key = place.keys.last_claim(worker.id)
    await place.link.command("DEL", key)
    await place.link.command("RPUSH", key, worker.id.encode() + b".00000000.1", b"nobody", b"\xff\n", b"x" * 10_000)


async def wake(place: Place, worker: Worker[Any]) -> None:
    await place.link.command("ZADD", place.keys.wake, b"-inf", b"0", 5, b"many", FAR, b"\xff")


async def workers(place: Place, worker: Worker[Any]) -> None:
    await place.link.command("ZADD", place.keys.workers, FAR, worker.id, b"-inf", b"nobody", FAR, b"\xff\n" * 50)


async def finished(place: Place, worker: Worker[Any]) -> None:
    digest = hashlib.sha1(b"some task", usedforsecurity=False).hexdigest()
    await place.link.command("ZADD", place.keys.finished, FAR, digest, FAR, b"\xff", 0, b"x")


async def results(place: Place, worker: Worker[Any]) -> None:
    await place.link.command("ZADD", place.keys.results, FAR, b"nobody", b"inf", b"\xff\n", 0, b"x" * 10_000)


async def quarantine(place: Place, worker: Worker[Any]) -> None:
    await place.link.command("HSET", place.keys.meta, "quarantined", "-1e300")
    await place.link.command("XADD", place.keys.quarantine, "*", "id", b"\xff\n", "reason", b"\n" * 300, "size", "many")


HINTS: dict[str, Callable[[Place, Worker[Any]], Awaitable[None]]] = {
    hint.__name__: hint for hint in (last_claim, wake, workers, finished, results, quarantine)
}


@pytest.mark.attack(27)
@pytest.mark.parametrize("name", HINTS)
async def test_a_forged_hint_starts_nothing_and_stops_nothing(place: Place, name: str) -> None:
    runs: list[int] = []
    worker, note = make_worker(place, runs)
    await HINTS[name](place, worker)
    async with running(worker):
        for number in range(3):
            assert (await (await note.enqueue(number)).result(timeout=PATIENCE)).result == number
            await HINTS[name](place, worker)
        await worker.counts()
        await worker.audit()
        for status in TaskStatus:
            await worker.get_tasks_by_status(status)
    assert runs == [0, 1, 2]


@pytest.mark.attack(27)
async def test_a_forged_sign_of_a_repeated_enqueue_drops_that_task_and_no_other(place: Place) -> None:
    """Who can guess the digest of a task that is still to come can as well delete the task."""
    runs: list[int] = []
    worker, note = make_worker(place, runs)
    async with running(worker):
        client = worker._client()
        task = note.enqueue(1)
        sealed = await client.sealing.seal(task)
        digest = hashlib.sha1(sealed.sealed, usedforsecurity=False).hexdigest()
        await place.link.command("ZADD", place.keys.finished, FAR, digest)
        [stored] = await place.storage.enqueue([sealed], PATIENCE)
        assert stored.new  # so the producer believes
        assert (await (await note.enqueue(2)).result(timeout=PATIENCE)).result == 2
        assert await task.status() is TaskStatus.NOT_FOUND
    assert runs == [2]


@pytest.mark.attack(29)
@pytest.mark.parametrize(
    "record",
    [b"99:normal:", b"99!:normal:", b"-1000:normal:", b"many:normal:", b"9999:normal:", b"9999!:x:", b"0:normal:"],
)
async def test_a_forged_counter_of_tries_ends_or_repeats_its_own_task_within_its_expiry(
    place: Place, record: bytes
) -> None:
    """The tries stand outside the envelope; what a lie about them can do is to end the task, or to let it run again."""
    runs: list[int] = []
    worker, note = make_worker(place, runs)
    async with worker:
        task = await note.enqueue(1)
        task_id = task.id.encode()
        await place.link.command("HSET", place.keys.bucket(task_id), b"!r" + task_id, record)
    async with running(worker):
        outcome = await task.result(timeout=PATIENCE)
        dropped = b"!" in record  # says that a last try had begun
        assert outcome.success is not dropped
        if dropped:
            assert "WorkerLost" in str(outcome.exception)
        assert outcome.tries <= 10_000
    assert runs == ([] if dropped else [1])


@pytest.mark.attack(37)
async def test_a_lease_that_nobody_holds_keeps_a_task_waiting_no_longer_than_a_lease(place: Place) -> None:
    runs: list[int] = []
    worker, note = make_worker(place, runs)
    async with worker:
        task = await note.enqueue(1)
        task_id = task.id.encode()
        await place.link.command("HSET", place.keys.bucket(task_id), b"!r" + task_id, b"1:normal:somebody.else.1")
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == 1
    assert runs == [1]


async def test_a_task_that_was_moved_to_another_priority_runs_as_what_it_is(place: Place) -> None:
    runs: list[int] = []
    worker, note = make_worker(place, runs, priorities=["normal", "high"])
    async with worker:
        task = await note.enqueue(1)
        await place.link.command("LREM", place.keys.ready[PRIORITY], 0, task.id)
        await place.link.command("RPUSH", place.keys.prefix + b"ready:high", task.id)
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == 1
    assert runs == [1]


async def test_forged_places_in_lines_close_none_of_them_for_good(place: Place) -> None:
    """All lines are one zset, read by its letters: one member of another score would hide the rest from everybody."""
    worker, lines = place.worker(), place.keys.lines
    ran: list[int] = []

    @worker.task(name="in-order", order_by="key")
    async def in_order(key: str, number: int) -> None:
        ran.append(number)

    junk = [part for number in range(200) for part in ("inf", f"{number:03}")]
    await place.link.command("ZADD", lines, *junk, "-inf", b"\xff", 1, b"")
    async with worker:
        tasks = [in_order.enqueue("a", number) for number in range(3)]
        await worker.enqueue_many(tasks)
        genuine: Any = await place.link.command("ZRANGEBYSCORE", lines, 0, 0)
        await place.link.command("ZADD", lines, "inf", genuine[0])
    async with running(worker):
        for task in tasks:
            assert (await task.result(timeout=PATIENCE)).success
    assert ran == [0, 1, 2]


@pytest.mark.attack(37)
@pytest.mark.parametrize(
    ("kind", "limit"),
    [(b"permits", ConcurrencyLimit(1)), (b"starts", RateLimit(2, per=600))],
    ids=["permits", "starts"],
)
async def test_a_limit_that_nobody_uses_is_not_used_up_for_good(place: Place, kind: bytes, limit: Limit) -> None:
    worker, gate = place.worker(), anyio.Event()

    @worker.task(name="limited", limits=limit)
    async def limited() -> None:
        await gate.wait()

    async def used() -> Any:
        return await place.link.command("KEYS", place.keys.prefix + kind + b":*")

    async with running(worker):
        first = await limited.enqueue()
        await eventually(used)
        [key] = await used()
        await place.link.command("ZADD", key, "inf", b"nobody", 4e15, b"0 nobody token", 9e15, b"\xff\n")
        second = await limited.enqueue()
        gate.set()
        for task in (first, second):
            assert (await task.result(timeout=PATIENCE)).success


@pytest.mark.attack(3)
async def test_a_pickle_that_a_key_holder_has_sealed_is_not_read_where_the_policy_is_msgpack(
    place: Place, tmp_path: Path
) -> None:
    import os
    import pickle

    runs: list[int] = []
    worker, note = make_worker(place, runs)
    marker = tmp_path / "marker"
    insider = place.worker(serializer=RestrictedPickle())
    sealed = insider._codec.seal(
        Purpose.TASK, "t1", "note", b"", pickle.dumps(Marker(marker)), now_ms=now_ms(), jti=os.urandom(16)
    )
    await place.put_raw(b"t1", sealed)
    async with running(worker):

        async def is_put_aside() -> bool:
            return await place.quarantine() == {b"t1": "serializer-not-allowed"}

        await eventually(is_put_aside)
        assert (await (await note.enqueue(1)).result(timeout=PATIENCE)).result == 1
    assert not marker.exists()
