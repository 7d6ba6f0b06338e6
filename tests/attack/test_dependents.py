"""Edges and hand-overs: who writes to Redis without a key can delay what waits, and neither run, feed nor redirect it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from secure_queue import Rejected, Task, TaskFailed, TaskNotFound, Worker
from secure_queue.audit.findings import Code, Kind
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.codec import Purpose
from secure_queue.payload.keys import format_key, parse_key, scoped_key
from secure_queue.redis.link import Argument
from tests.servers import PATIENCE, eventually
from tests.worker.places import PRIORITY, QUEUE, SECRET, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Scene:
    """A parent that runs until it is let go, and somebody with write access in the meantime."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.worker: Worker[Any] = place.worker()
        self.gate = anyio.Event()
        self.ran: list[Any] = []

        @self.worker.task(name="slow")
        async def slow(number: int) -> int:
            await self.gate.wait()
            return number

        @self.worker.task(name="note")
        async def note(value: Any = "nothing") -> Any:
            self.ran.append(value)
            return value

        @self.worker.task(name="fail", max_tries=1, silent=True)
        async def fail(value: Any = None) -> Any:
            raise ValueError("on purpose")

        self.slow, self.note, self.fail = slow, note, fail

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        async with running(self.worker):
            yield

    async def write(self, *command: Argument) -> Any:
        return await self.place.link.command(*command)

    async def result_of(self, task: Task[Any]) -> bytes:
        """The sealed result of a task that has ended."""
        await task.result(timeout=PATIENCE)
        found = await self.write("GET", self.place.keys.result(task.id.encode()))
        assert isinstance(found, bytes)
        return found

    async def hand_over(self, child: Task[Any], parent: Task[Any], forged: bytes) -> None:
        """Forge what a parent hands over, and put the child into the queue."""
        await self.write("HSET", self.place.keys.handed(child.id.encode()), parent.id, forged)
        await self.wake(child)

    async def wake(self, child: Task[Any]) -> None:
        await self.write("ZREM", self.place.keys.due[PRIORITY], child.id)
        await self.write("RPUSH", self.place.keys.ready[PRIORITY], child.id)
        await self.write("ZADD", self.place.keys.wake, 0, "0")

    async def goes_to_sleep(self) -> None:
        """The child was looked at, and waits on."""
        before = self.worker.counters["waiting"]
        await eventually(lambda: _true(self.worker.counters["waiting"] > before))

    async def ends_well(self, child: Task[Any], value: Any) -> None:
        """The parent ends, and the child runs once, with what the parent has returned."""
        self.gate.set()
        assert (await child.result(timeout=PATIENCE)).result == value


@pytest.fixture
def scene(place: Place) -> Scene:
    return Scene(place)


@pytest.mark.attack(34)
async def test_a_dependent_that_is_woken_early_sleeps_again(scene: Scene) -> None:
    async with scene.playing():
        child = await (scene.slow.enqueue(1) | scene.note)
        for _ in range(3):
            await scene.wake(child)
            await scene.goes_to_sleep()
        await scene.ends_well(child, 1)
        assert (await child.result()).tries == 1
    assert scene.ran == [1]


@pytest.mark.attack(34)
async def test_the_result_of_another_task_does_not_stand_for_a_parent(scene: Scene) -> None:
    async with scene.playing():
        other = await scene.note.enqueue("other")
        genuine = await scene.result_of(other)
        parent = scene.slow.enqueue(1)
        child = await (parent | scene.note)
        for forged in (genuine, b"", b"garbage", genuine[:-1] + b"\0", b"x" * 2_000_000):
            await scene.hand_over(child, parent, forged)
            await scene.goes_to_sleep()
        await scene.ends_well(child, 1)
    assert scene.ran == ["other", 1]


@pytest.mark.attack(34)
async def test_an_older_result_of_the_same_id_does_not_stand_for_a_parent(scene: Scene) -> None:
    async with scene.playing():
        before = scene.note.enqueue("old")
        before.id = "daily"
        old = await scene.result_of(await before)
        await scene.write("DEL", scene.place.keys.result(b"daily"))
        parent = scene.slow.enqueue(1)
        parent.id = "daily"
        child = await (parent | scene.note)
        await scene.hand_over(child, parent, old)
        await scene.goes_to_sleep()
        await scene.ends_well(child, 1)
    assert scene.ran == ["old", 1]


@pytest.mark.attack(35)
async def test_a_fallback_does_not_run_or_inherit_by_the_word_of_another_task(scene: Scene) -> None:
    async with scene.playing():
        success, failure = await scene.note.enqueue("other"), await scene.fail.enqueue()
        words = await scene.result_of(success), await scene.result_of(failure)
        parent = scene.slow.enqueue(7)
        fallback = await (parent ^ scene.note)
        for forged in words:
            await scene.hand_over(fallback, parent, forged)
            await scene.goes_to_sleep()
        await scene.ends_well(fallback, 7)
    assert scene.ran == ["other"]


async def test_a_dependent_that_nobody_declared_is_told_nothing(scene: Scene) -> None:
    """The list of dependents, and the outbox itself, are hints: what a task waits for stands in its own seal."""
    async with scene.playing():
        victim = await scene.note.enqueue("victim").start(delay=600)
        waits = await (scene.slow.enqueue(2) | scene.note)
        parent = await scene.slow.enqueue(1)
        children = b"0:%s\n0:%s\n63:nobody\n\xff" % (victim.id.encode(), waits.id.encode())
        await scene.write("HSET", scene.place.keys.bucket(parent.id.encode()), b"!c" + parent.id.encode(), children)
        await scene.write("HSET", scene.place.keys.outbox, "forged", children + b"\0junk", b"\xff", b"junk", "x", "")
        scene.gate.set()
        assert (await waits.result(timeout=PATIENCE)).result == 2
        await eventually(lambda: _empty(scene))
        assert (await (await scene.note.enqueue("next")).result(timeout=PATIENCE)).result == "next"
    assert scene.ran == [2, "next"]


async def test_edges_that_are_taken_out_of_redis_are_found_again(scene: Scene) -> None:
    async with scene.playing():
        parent = scene.slow.enqueue(3)
        child = await (parent | scene.note)
        await scene.write("HDEL", scene.place.keys.bucket(parent.id.encode()), b"!c" + parent.id.encode())
        await scene.write("DEL", scene.place.keys.handed(child.id.encode()))
        await scene.write("ZADD", scene.place.keys.due[PRIORITY], 1, child.id)  # as when its time to be looked at comes
        await scene.goes_to_sleep()
        await scene.ends_well(child, 3)


async def test_a_parent_that_was_deleted_fails_its_dependents(scene: Scene) -> None:
    async with scene.playing():
        parent = await scene.note.enqueue("never").start(delay=600)
        child = await scene.note.enqueue("child").start(after=parent)
        await scene.write("HDEL", scene.place.keys.bucket(parent.id.encode()), parent.id)
        await scene.wake(child)
        outcome = await child.result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type == "secure_queue.ParentGone"
    assert scene.ran == []


async def test_a_description_of_a_workflow_counts_only_where_it_belongs(scene: Scene) -> None:
    async with scene.worker:
        first, second = await (scene.note.enqueue(1) | scene.note), await (scene.note.enqueue(2) | scene.note)
        keys = [scene.place.keys.workflow(task.id.encode()) for task in (first, second)]
        await scene.write("COPY", keys[0], keys[1], "REPLACE")
        for ask in (scene.worker.workflow, scene.worker.abort_workflow):
            with pytest.raises(Rejected, match="wrong-task"):
                await ask(second.id)
        assert len(await scene.worker.abort_workflow(first.id)) == 2


async def test_a_producer_whose_key_is_for_tasks_alone_enqueues_workflows_that_have_no_description(
    scene: Scene,
) -> None:
    key = scoped_key(parse_key(SECRET), "web", QUEUE, Suite.HMAC_SHA256, Purpose.TASK)
    producer = scene.place.worker(signing_secret=format_key(key))
    producer.announces = False

    @producer.task(name="note")
    async def note(value: Any = None) -> Any: ...

    async with scene.playing(), producer:
        child = await (note.enqueue("by another") | note)
        assert (await scene.worker.result_by_id(child.id, PATIENCE)).result == "by another"
        with pytest.raises(TaskNotFound, match="no workflow"):
            await scene.worker.workflow(child.id)


async def test_an_audit_sees_hand_overs_descriptions_and_the_outbox(scene: Scene) -> None:
    async with scene.playing():
        early = scene.note.enqueue("early")
        child = await scene.worker.group([early, scene.slow.enqueue(1)]).then(scene.note)
        await early.result(timeout=PATIENCE)
        await eventually(lambda: _handed(scene, child))
        report = await scene.worker.audit()
        kinds = {finding.kind for finding in report.findings if finding.code is Code.VALID}
        assert report.findings == [] or kinds <= {Kind.HANDOVER}
        other = await scene.note.enqueue("other")
        genuine = await scene.result_of(other)
        await scene.write("HSET", scene.place.keys.handed(child.id.encode()), "another", genuine)
        await scene.write("HSET", scene.place.keys.handed(child.id.encode()), "unsigned", b"junk")
        found: list[Any] = []
        await scene.worker.audit(on_finding=found.append)
        codes = {(finding.kind, finding.id): finding.code for finding in found}
        assert codes[Kind.HANDOVER, early.id] is Code.VALID
        assert codes[Kind.HANDOVER, "another"] is Code.MOVED
        assert codes[Kind.HANDOVER, "unsigned"] is Code.UNSIGNED
        assert codes[Kind.WORKFLOW, child.id] is Code.VALID
        await scene.write("HDEL", scene.place.keys.handed(child.id.encode()), "another", "unsigned")
        scene.gate.set()
        await child.result(timeout=PATIENCE)


async def _true(flag: object) -> object:
    return flag


async def _empty(scene: Scene) -> bool:
    return await scene.write("EXISTS", scene.place.keys.outbox) == 0


async def _handed(scene: Scene, child: Task[Any]) -> bool:
    return bool(await scene.write("HLEN", scene.place.keys.handed(child.id.encode())) == 2)
