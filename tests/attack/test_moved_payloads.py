"""Genuine payloads in places for which they were not sealed: none of them runs, and none is taken for a result."""

from __future__ import annotations

import os
from typing import Any

import anyio
import pytest

from secure_queue import Rejected, Task, TaskFailed, TaskStatus, Worker
from secure_queue.clock import now_ms
from secure_queue.payload.envelope import Purpose
from secure_queue.payload.keys import KeyEntry, KeyState, format_key, generate_key
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

runs: list[int] = []


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    runs.clear()


def make_worker(place: Place, **options: Any) -> tuple[Worker[Any], Any]:
    worker = place.worker(**options)

    @worker.task(name="note")
    async def note(number: int) -> int:
        runs.append(number)
        return number

    return worker, note


async def stored_task(place: Place, task: Task[Any]) -> bytes:
    found: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), task.id)
    assert isinstance(found, bytes)
    return found


async def stored_result(place: Place, task: Task[Any]) -> bytes:
    found: Any = await place.link.command("GET", place.keys.result(task.id.encode()))
    assert isinstance(found, bytes)
    return found


async def store_task(place: Place, task: Task[Any], payload: bytes) -> None:
    await place.link.command("HSET", place.keys.bucket(task.id.encode()), task.id, payload)


async def is_put_aside(place: Place, worker: Worker[Any], note: Any, expected: dict[str, str]) -> None:
    """Running *worker* puts aside exactly what is expected, runs none of it, and then runs a good task."""
    before = list(runs)
    async with running(worker):
        wanted = {task_id.encode(): reason for task_id, reason in expected.items()}

        async def done() -> bool:
            return await place.quarantine() == wanted

        await eventually(done)
        assert (await (await note.enqueue(99)).result(timeout=PATIENCE)).result == 99
    assert runs == [*before, 99]


async def finished(worker: Worker[Any], note: Any, number: int, task_id: str | None = None) -> Task[Any]:
    task: Task[Any] = note.enqueue(number)
    task.id = task_id or task.id
    await task
    assert (await task.result(timeout=PATIENCE)).result == number
    return task


@pytest.mark.attack(10)
async def test_two_tasks_that_were_swapped(place: Place) -> None:
    worker, note = make_worker(place)
    async with worker:
        x, y = await note.enqueue(1), await note.enqueue(2)
        sealed_x, sealed_y = await stored_task(place, x), await stored_task(place, y)
        await store_task(place, x, sealed_y)
        await store_task(place, y, sealed_x)
    await is_put_aside(place, worker, note, {x.id: "wrong-task", y.id: "wrong-task"})


@pytest.mark.attack(16)
async def test_a_task_under_a_new_id(place: Place) -> None:
    worker, note = make_worker(place)
    async with worker:
        task = await note.enqueue(1).start(delay=600)
        await place.put_raw(b"another-id", await stored_task(place, task))
        await task.abort()
    await is_put_aside(place, worker, note, {"another-id": "wrong-task"})


@pytest.mark.attack(11)
async def test_a_task_of_another_queue_with_the_same_key(place: Place) -> None:
    worker, note = make_worker(place)
    other, other_note = make_worker(place, queue_name="other-queue")
    async with other:
        sealed = (await other._client().sealing.seal(other_note.enqueue(1))).sealed
        task = other_note.enqueue(1)
        sealed = (await other._client().sealing.seal(task)).sealed
    await place.put_raw(task.id.encode(), sealed)
    await is_put_aside(place, worker, note, {task.id: "wrong-queue"})


@pytest.mark.attack(18)
async def test_a_result_in_the_place_of_a_task(place: Place) -> None:
    worker, note = make_worker(place)
    async with running(worker):
        task = await finished(worker, note, 1)
    await place.put_raw(task.id.encode(), await stored_result(place, task))
    await is_put_aside(place, worker, note, {task.id: "wrong-purpose"})


async def test_an_abort_mark_in_the_place_of_a_task(place: Place) -> None:
    worker, note = make_worker(place)
    codec = worker._codec
    mark = codec.seal(Purpose.CONTROL, "t1", "note", b"", b"", now_ms=now_ms(), jti=os.urandom(16))
    await place.put_raw(b"t1", mark)
    await is_put_aside(place, worker, note, {"t1": "wrong-purpose"})


async def rejected_as(task: Task[Any]) -> str:
    with pytest.raises(Rejected) as caught:
        await task.result(timeout=PATIENCE)
    return caught.value.reason


@pytest.mark.attack(17)
async def test_a_task_in_the_place_of_its_result(place: Place) -> None:
    worker, note = make_worker(place)
    async with worker:
        task = await note.enqueue(1)
        await place.link.command("SET", place.keys.result(task.id.encode()), await stored_task(place, task))
        assert await rejected_as(task) == "wrong-purpose"


@pytest.mark.attack(19)
async def test_the_result_of_another_task(place: Place) -> None:
    worker, note = make_worker(place)
    async with running(worker):
        x, y = await finished(worker, note, 1), await finished(worker, note, 2)
        await place.link.command("SET", place.keys.result(x.id.encode()), await stored_result(place, y))
        assert await rejected_as(x) == "wrong-task"
        with pytest.raises(Rejected):
            await worker.result_by_id(x.id)
        with pytest.raises(Rejected):
            await worker.status_by_id(x.id)


@pytest.mark.attack(20)
async def test_an_old_result_of_the_same_id(place: Place) -> None:
    worker, note = make_worker(place)
    async with running(worker):
        first = await finished(worker, note, 1, "order-17")
        old = await stored_result(place, first)
        await place.link.command("DEL", place.keys.result(b"order-17"))
        second = await finished(worker, note, 2, "order-17")
        await place.link.command("SET", place.keys.result(b"order-17"), old)
        assert await rejected_as(second) == "wrong-ref"


async def test_the_result_of_another_function_under_the_same_id(place: Place) -> None:
    worker, note = make_worker(place)

    @worker.task(name="pay")
    async def pay(number: int) -> int:
        return number

    async with running(worker):
        first = await finished(worker, pay, 1, "order-17")
        old = await stored_result(place, first)
        await place.link.command("DEL", place.keys.result(b"order-17"))
        second = await finished(worker, note, 2, "order-17")
        await place.link.command("SET", place.keys.result(b"order-17"), old)
        assert await rejected_as(second) == "wrong-function"


@pytest.mark.attack(21)
async def test_an_old_result_that_is_pushed_is_passed_over(place: Place) -> None:
    worker, _ = make_worker(place)
    proceed = anyio.Event()
    got: list[object] = []

    @worker.task(name="wait")
    async def wait(number: int) -> int:
        if number == 2:
            await proceed.wait()
        return number

    async with running(worker):
        first = await finished(worker, wait, 1, "order-17")
        old = await stored_result(place, first)
        await place.link.command("DEL", place.keys.result(b"order-17"))
        second = wait.enqueue(2)
        second.id = "order-17"
        await second

        async def ask() -> None:
            got.append((await second.result(timeout=PATIENCE)).result)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            bucket = place.keys.bucket(b"order-17")
            await eventually(lambda: place.link.command("HEXISTS", bucket, "!worder-17"))
            channel: Any = await place.link.command("HGET", bucket, "!worder-17")
            await place.link.command("PUBLISH", channel, b"order-17\0" + old)
            await anyio.wait_all_tasks_blocked()
            assert got == []
            proceed.set()
    assert got == [2]


async def test_a_task_that_was_signed_with_an_unknown_key(place: Place) -> None:
    stranger, stranger_note = make_worker(place, signing_secret=format_key(generate_key("stranger")))
    worker, note = make_worker(place)
    async with stranger:
        task = await stranger_note.enqueue(1)
    await is_put_aside(place, worker, note, {task.id: "unknown-key"})


async def test_a_task_that_was_signed_with_a_revoked_key(place: Place) -> None:
    old = generate_key("old")
    former, former_note = make_worker(place, signing_secret=format_key(old))
    revoked = format_key(KeyEntry("old", KeyState.REVOKED, old.material))
    worker, note = make_worker(place, signing_secret=[SECRET, revoked])
    async with former:
        task = await former_note.enqueue(1)
    await is_put_aside(place, worker, note, {task.id: "revoked-key"})


async def test_a_key_that_only_verifies_any_more_is_good_for_what_it_has_signed(place: Place) -> None:
    old = generate_key("old")
    former, former_note = make_worker(place, signing_secret=format_key(old))
    worker, _ = make_worker(place, signing_secret=[SECRET, format_key(KeyEntry("old", KeyState.VERIFY, old.material))])
    async with former:
        task = await former_note.enqueue(1)
        async with running(worker):
            assert (await worker.result_by_id(task.id, timeout=PATIENCE)).result == 1


async def test_a_changed_byte(place: Place) -> None:
    worker, note = make_worker(place)
    async with worker:
        task = await note.enqueue(1)
        sealed = await stored_task(place, task)
        await store_task(place, task, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    await is_put_aside(place, worker, note, {task.id: "bad-signature"})


@pytest.mark.attack(15)
async def test_a_task_that_is_presented_again_after_it_has_expired(place: Place) -> None:
    worker, _ = make_worker(place)
    body = worker._codec.serializer.dumps([[1], {}])
    assert isinstance(body, bytes)
    sealed = worker._codec.seal(
        Purpose.TASK, "t1", "note", b"", body, now_ms=now_ms() - 3_600_000, jti=os.urandom(16), lifetime_s=60
    )
    await place.put_raw(b"t1", sealed)
    async with running(worker):
        outcome = await worker.result_by_id("t1", timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type == "secure_queue.TaskExpired"
        assert await worker.status_by_id("t1") is TaskStatus.FAILED
    assert runs == []


async def test_a_task_from_the_future(place: Place) -> None:
    worker, note = make_worker(place)
    body = worker._codec.serializer.dumps([[1], {}])
    assert isinstance(body, bytes)
    sealed = worker._codec.seal(Purpose.TASK, "t1", "note", b"", body, now_ms=now_ms() + 3_600_000, jti=os.urandom(16))
    await place.put_raw(b"t1", sealed)
    await is_put_aside(place, worker, note, {"t1": "from-the-future"})


@pytest.mark.attack(31)
async def test_a_due_time_that_was_moved_forward_does_not_run_the_task_before_its_sealed_time(place: Place) -> None:
    worker = place.worker()

    @worker.task(name="now")
    async def now() -> tuple[int, int]:
        return now_ms(), now.context.tries

    async with running(worker):
        enqueued = now_ms()
        task = await now.enqueue().start(delay=2)
        await place.link.command("ZADD", place.keys.due["normal"], 0, task.id)
        await eventually(lambda: handed_back(worker))
        started, tries = (await task.result(timeout=PATIENCE)).result
        assert started - enqueued >= 2000
        assert tries == 1


async def handed_back(worker: Worker[Any]) -> bool:
    return worker.counters["handed_back"] > 0


@pytest.mark.attack(31)
async def test_a_task_in_the_ready_list_before_its_time_waits_too(place: Place) -> None:
    worker, note = make_worker(place)
    async with running(worker):
        task = await note.enqueue(1).start(delay=600)
        for _ in range(3):
            await place.link.command("RPUSH", place.keys.ready["normal"], task.id)
            assert (await (await note.enqueue(2)).result(timeout=PATIENCE)).result == 2
        assert await task.status() is TaskStatus.SCHEDULED
    assert 1 not in runs
