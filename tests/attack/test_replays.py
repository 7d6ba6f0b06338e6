"""Genuine tasks that are presented again: what has an end is not run again, whoever still knows of that end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Rejected, Task, TaskStatus, Worker
from secure_queue.payload.envelope import Purpose, parse_envelope
from secure_queue.tasks import RegisteredTask
from tests.servers import PATIENCE, eventually
from tests.worker.places import AT_ONCE, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Scene:
    """A worker with a task that notes its runs, and what was stored of one enqueue before it ran."""

    def __init__(self, place: Place, **options: Any) -> None:
        self.place = place
        self.runs: list[str] = []
        self.worker: Worker[Any] = place.worker(**options)
        self.note = self._declare(self.worker)

    def _declare(self, worker: Worker[Any]) -> RegisteredTask[..., Any, Any]:
        @worker.task(name="note", retry_policy=AT_ONCE)
        async def note(number: int) -> int:
            self.runs.append(worker.id)
            if number < 0:
                raise ValueError(number)
            return number

        return note

    def another_worker(self, **options: Any) -> Worker[Any]:
        worker: Worker[Any] = self.place.worker(**options)
        self._declare(worker)
        return worker

    async def enqueue(self, number: int = 1) -> tuple[Task[Any], bytes]:
        """A task in the queue, and the bytes that somebody keeps of it."""
        task = await self.note.enqueue(number)
        return task, await self.stored(task)

    async def stored(self, task: Task[Any]) -> bytes:
        found: Any = await self.place.link.command("HGET", self.place.keys.bucket(task.id.encode()), task.id)
        assert isinstance(found, bytes)
        return found

    async def forget_result(self, task: Task[Any]) -> None:
        await self.place.link.command("DEL", self.place.keys.result(task.id.encode()))
        await self.place.link.command("ZREM", self.place.keys.results, task.id)


async def is_refused(scene: Scene, task: Task[Any], reason: str) -> None:
    async def put_aside() -> bool:
        return (await scene.place.quarantine()).get(task.id.encode()) == reason

    await eventually(put_aside)


async def still_runs(worker: Worker[Any]) -> None:
    assert (await (await worker.registry["note"].enqueue(99)).result(timeout=PATIENCE)).result == 99


@pytest.mark.attack(12)
async def test_a_finished_task_whose_result_is_there_is_not_run_again(place: Place) -> None:
    scene = Scene(place)
    async with scene.worker:
        task, kept = await scene.enqueue()
    async with running(scene.worker):
        assert (await task.result(timeout=PATIENCE)).result == 1
    async with running(scene.another_worker()) as other:
        await place.put_raw(task.id.encode(), kept)
        await is_refused(scene, task, "duplicate")
        assert (await other.result_by_id(task.id)).result == 1
        await still_runs(other)
    assert len(scene.runs) == 2


async def test_an_audit_names_a_task_that_stands_beside_its_own_result(place: Place) -> None:
    scene = Scene(place)
    async with scene.worker as worker:
        task, kept = await scene.enqueue()
        async with running_beside(worker):
            await task.result(timeout=PATIENCE)
            failed = await scene.note.enqueue(-1)
            assert not (await failed.result(timeout=PATIENCE)).success
        assert (await worker.audit()).findings == []  # a dead letter stands beside its result by right
        await place.put_raw(task.id.encode(), kept)
        [finding] = (await worker.audit()).findings
        assert (finding.code, finding.severity, finding.id) == ("repeated", "critical", task.id)
        other = await scene.note.enqueue(2)  # who waits beside the result of another message has not been finished
        stored: Any = await place.link.command("GET", place.keys.result(task.id.encode()))
        await place.link.command("HDEL", place.keys.bucket(task.id.encode()), task.id)
        await place.link.command("SET", place.keys.result(other.id.encode()), stored, "PX", 60_000)
        await place.link.command("ZADD", place.keys.results, b"4000000000000", other.id)
        assert "repeated" not in {found.code for found in (await worker.audit()).findings}


@pytest.mark.attack(13)
async def test_a_finished_task_whose_result_was_deleted_is_answered_and_not_run_by_the_worker_that_ran_it(
    place: Place,
) -> None:
    scene = Scene(place)
    async with scene.worker:
        task, kept = await scene.enqueue()
        async with running_beside(scene.worker):
            assert (await task.result(timeout=PATIENCE)).result == 1
            for _ in range(3):
                await scene.forget_result(task)
                await place.put_raw(task.id.encode(), kept)
                assert (await task.result(timeout=PATIENCE)).result == 1
            await still_runs(scene.worker)
    assert scene.worker.counters["repeated"] == 3
    assert len(scene.runs) == 2
    assert await place.quarantine() == {}


class running_beside:
    """Run tasks with a worker that is open already."""

    def __init__(self, worker: Worker[Any]) -> None:
        self.worker = worker

    async def __aenter__(self) -> None:
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        await self.group.start(self.worker.run_async)

    async def __aexit__(self, *error: Any) -> Any:
        self.worker.stop()
        return await self.group.__aexit__(*error)


@pytest.mark.attack(14)
async def test_each_further_worker_runs_it_once_at_the_most_and_with_the_same_idempotency_key(place: Place) -> None:
    keys: list[str] = []

    def declare(worker: Worker[Any]) -> RegisteredTask[..., Any, Any]:
        @worker.task(name="note")
        async def note() -> None:
            keys.append(note.context.idempotency_key)

        return note

    first, second = place.worker(), place.worker()
    note = declare(first)
    declare(second)
    async with first:
        task = await note.enqueue()
        kept: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), task.id)
        async with running_beside(first):
            await task.result(timeout=PATIENCE)
        async with running(second):
            for _ in range(4):
                await place.link.command("DEL", place.keys.result(task.id.encode()))
                await place.put_raw(task.id.encode(), kept)
                await task.result(timeout=PATIENCE)
    assert keys == [task.jti.hex()] * 2
    assert second.counters["repeated"] == 3


async def test_a_dead_letter_that_somebody_puts_into_the_queue_stays_the_dead_letter_that_it_was(place: Place) -> None:
    scene = Scene(place)
    async with running(scene.worker) as worker:
        task = await scene.note.enqueue(-1)
        assert not (await task.result(timeout=PATIENCE)).success
        ran = len(scene.runs)
        await place.link.command("DEL", place.keys.result(task.id.encode()))
        await place.put_raw(task.id.encode(), None)
        await eventually(lambda: counted(worker, "repeated"))
        assert (await worker.dead_letter(task.id)).error == "ValueError"
        assert len(scene.runs) == ran
        await worker.retry_dead_letter(task.id)  # by somebody with a key it is another matter

        async def ran_again() -> bool:
            return len(scene.runs) == 2 * ran

        await eventually(ran_again)


async def counted(worker: Worker[Any], name: str) -> bool:
    return worker.counters[name] > 0


async def test_a_task_that_was_aborted_does_not_run_when_it_is_put_back(place: Place) -> None:
    scene = Scene(place)
    async with running(scene.worker):
        task = await scene.note.enqueue(1).start(delay=600)
        kept = await scene.stored(task)
        assert await task.abort()
        await place.put_raw(task.id.encode(), kept)
        await is_refused(scene, task, "duplicate")
        assert await task.status() is TaskStatus.ABORTED
    assert scene.runs == []


@pytest.mark.parametrize("forged", ["index", "death", "result", "result of another"])
async def test_a_forged_sign_of_an_end_keeps_no_task_from_running(place: Place, forged: str) -> None:
    scene = Scene(place)
    async with running(scene.worker):
        other = await scene.note.enqueue(2)
        await other.result(timeout=PATIENCE)
    scene.runs.clear()
    async with scene.worker:
        task = await scene.note.enqueue(1)
        task_id, keys = task.id.encode(), place.keys
        genuine: Any = await place.link.command("GET", keys.result(other.id.encode()))
        if forged == "death":
            await place.link.command("HSET", keys.bucket(task_id), b"!d" + task_id, genuine)
        else:
            await place.link.command("ZADD", keys.results, b"4000000000000", task_id)
        if forged.startswith("result"):
            await place.link.command("SET", keys.result(task_id), genuine if forged.endswith("another") else b"x" * 200)
    async with running(scene.worker):

        async def has_run() -> bool:
            return len(scene.runs) == 1

        await eventually(has_run)
    assert len(scene.runs) == 1


@pytest.mark.attack(15)
async def test_the_time_in_which_a_task_can_be_presented_again_is_that_of_the_worker_object_or_of_the_task(
    place: Place,
) -> None:
    worker = place.worker(expire=3600)

    @worker.task
    async def usual() -> None: ...

    @worker.task(expire=60)
    async def hasty() -> None: ...

    async with worker:
        for task, seconds in ((usual, 3600), (hasty, 60)):
            handle = await task.enqueue().start(delay=100)
            stored: Any = await place.link.command("HGET", place.keys.bucket(handle.id.encode()), handle.id)
            parsed = parse_envelope(stored)
            assert parsed.expires_ms == parsed.issued_ms + (100 + seconds) * 1000
            with pytest.raises(Rejected, match="expired"):
                worker._codec.open(stored, Purpose.TASK, handle.id, now_ms=parsed.expires_ms + 60_001)
            await handle.abort()
