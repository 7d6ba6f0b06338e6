"""Protects "against an attacker who gains access to the Redis database": writing to Redis makes no worker do anything.

⚠ In streaQ the signature covers the bytes alone: with the same secret a task of another queue runs, the bytes of one task
in the place of another run twice, and schedules, abort marks and the lists of ids are believed unsigned.
"""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, eventually
from tests.worker.places import PRIORITY, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


class Scene:
    """A worker that notes what it does, and what an attacker can do who reads and writes Redis, and has no key."""

    def __init__(self, place: Place) -> None:
        self.place, self.did = place, list[str]()
        self.worker = self.shop("worker-tests")

    def shop(self, queue: str) -> Worker[Any]:
        worker: Worker[Any] = self.place.worker(queue_name=queue)

        @worker.task(name="refund", ttl=60)
        async def refund(amount: int) -> None:
            self.did.append(f"refund {amount}")

        @worker.task(name="cheap", ttl=60)
        async def cheap() -> None:
            self.did.append("cheap")

        @worker.cron("0 0 1 1 *", name="yearly", misfire="skip")
        async def yearly() -> None:
            self.did.append("yearly")

        return worker

    async def enqueue(self, name: str, *args: Any, worker: Worker[Any] | None = None, **options: Any) -> str:
        task = await (worker or self.worker).enqueue_by_name(name, *args).start(**options)
        return task.id

    async def bytes_of(self, task_id: str) -> bytes:
        found: Any = await self.place.link.command("HGET", self.place.keys.bucket(task_id.encode()), task_id)
        assert isinstance(found, bytes)
        return found

    async def put(self, task_id: str, stolen: bytes) -> None:
        await self.place.put_raw(task_id.encode(), stolen)


@pytest.fixture
def scene(place: Place) -> Scene:
    return Scene(place)


async def nothing_else_happens(scene: Scene, *expected: str) -> None:
    """A worker that finds all this does what is expected and a last task, and nothing else."""
    async with running(scene.worker) as worker:
        last = await worker.enqueue_by_name("refund", 0)
        await last.result(timeout=PATIENCE)
        await eventually(lambda: is_empty(worker))
    assert sorted(scene.did) == sorted([*expected, "refund 0"])


async def is_empty(worker: Worker[Any]) -> bool:
    counts = await worker.counts()
    return counts.running == 0 and not any(counts.ready.values())


async def test_a_task_of_another_queue_with_the_same_secret_does_not_run_here(scene: Scene) -> None:
    async with scene.worker, scene.shop("other") as other:
        task_id = await scene.enqueue("refund", 100, worker=other, id="t1")
        keys = type(scene.place.keys)("other", (PRIORITY,))
        stolen: Any = await scene.place.link.command("HGET", keys.bucket(b"t1"), task_id)
        await scene.put(task_id, stolen)
    await nothing_else_happens(scene)
    assert await scene.place.quarantine() == {b"t1": "wrong-queue"}


async def test_the_bytes_of_one_task_in_the_place_of_another_do_not_run(scene: Scene) -> None:
    async with scene.worker:
        dear, cheap = await scene.enqueue("refund", 100), await scene.enqueue("cheap")
        bucket = scene.place.keys.bucket(cheap.encode())
        await scene.place.link.command("HSET", bucket, cheap, await scene.bytes_of(dear))
    await nothing_else_happens(scene, "refund 100")
    assert await scene.place.quarantine() == {cheap.encode(): "wrong-task"}


async def test_a_finished_task_that_is_put_back_does_not_run_again(scene: Scene) -> None:
    async with scene.worker:
        task_id = await scene.enqueue("refund", 100)
        stolen = await scene.bytes_of(task_id)
    await nothing_else_happens(scene, "refund 100")
    scene.did.clear()
    await scene.put(task_id, stolen)
    await nothing_else_happens(scene)


async def test_a_schedule_that_is_edited_fires_never(scene: Scene) -> None:
    every_second = b"* * * * * *"
    async with scene.worker:
        task_id = await scene.enqueue("refund", 100, delay=600)
        for name, forged in (("yearly", every_second), ("refund", await scene.bytes_of(task_id))):
            await scene.place.link.command("HSET", scene.place.keys.schedules, name, forged)
            await scene.place.link.command("HSET", scene.place.keys.fired, name, "1:0:")
        await scene.place.link.command("HSET", scene.place.keys.meta, "timetable", "forged")
    await nothing_else_happens(scene)


async def test_an_abort_mark_that_nobody_with_a_key_wrote_aborts_nothing(scene: Scene) -> None:
    async with scene.worker:
        task_id = await scene.enqueue("refund", 100)
        for forged in (b"", b"1", await scene.bytes_of(task_id)):
            await scene.place.link.command("HSET", scene.place.keys.aborts, task_id, forged)
            await scene.place.link.command("HSET", scene.place.keys.aborts, b"x" + task_id.encode(), forged)
    await nothing_else_happens(scene, "refund 100")


async def test_ids_in_the_lists_of_the_queue_are_nothing_but_ids(scene: Scene) -> None:
    async with scene.worker:
        await scene.enqueue("cheap", id="t1")
        ready = scene.place.keys.ready[PRIORITY]
        await scene.place.link.command(
            "RPUSH", ready, "t1", "unknown", b"\xff\n", b'{"fn_name": "refund", "args": [100]}'
        )
    await nothing_else_happens(scene, "cheap")
