"""What a task says before its end is signed: a writer without a key can take it away, and say nothing in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from secure_queue import Rejected, StreamBroken
from secure_queue.payload.keys import format_key, generate_key
from tests.features.conftest import place as place
from tests.servers import PATIENCE
from tests.worker.places import QUEUE, Place, running

pytestmark = pytest.mark.anyio


async def test_progress_that_no_worker_has_sealed_is_rejected(place: Place) -> None:
    worker, stranger = place.worker(), place.worker(signing_secret=format_key(generate_key("stranger")), queue_name="x")

    @worker.task
    async def job(word: str) -> None:
        await job.report(word)

    @stranger.task(name=job.fn_name)
    async def same(word: str) -> None:
        await stranger.report(word)

    async with running(worker), running(stranger):
        first, second = job.enqueue("mine").start(id="one"), job.enqueue("of another")
        foreign = same.enqueue("of a stranger").start(id="one")
        for task in (first, second, foreign):
            await task
            await task.result(timeout=PATIENCE)
        here = place.keys.partial(b"one")
        other = await place.link.command("HGET", place.keys.partial(second.id.encode()), "progress")
        strange_key = here.replace(QUEUE.encode(), b"x")
        strange = await place.link.command("HGET", strange_key, "progress")
        result = await place.link.command("GET", place.keys.result(b"one"))
        presence = await place.link.command("HVALS", place.keys.presence)
        assert isinstance(presence, list)
        for forged in (b"90%", other, strange, result, *presence):
            assert isinstance(forged, bytes)
            await place.link.command("HSET", here, "progress", forged)
            with pytest.raises(Rejected):
                await first.progress()
            with pytest.raises(Rejected):
                assert [word async for word in first.updates()]


async def test_parts_cannot_be_forged_swapped_repeated_or_left_out(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def count() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    async with running(worker):
        task = await count.enqueue()
        await task.result(timeout=PATIENCE)
        key = place.keys.partial(task.id.encode())
        parts = [await place.link.command("HGET", key, number) for number in range(4)]
        for changed in ([0, 2, 1, 3], [0, 1, 1, 3], [1, 2, 3]):
            await place.link.command("DEL", key)
            for number, source in enumerate(changed):
                await place.link.command("HSET", key, number, parts[source])  # type: ignore[arg-type]
            with pytest.raises(StreamBroken):
                assert [part async for part in task.stream()]
        await place.link.command("HSET", key, 0, b"\x80\x04N.")
        with pytest.raises(Rejected):
            assert [part async for part in task.stream()]


async def test_what_was_said_is_encrypted_as_its_task_is_and_an_audit_sees_it(place: Place) -> None:
    worker = place.worker()
    go, said = anyio.Event(), anyio.Event()

    @worker.task
    async def job(*, secret: str) -> AsyncIterator[str]:
        await job.report(f"halfway to {secret}")
        yield f"part of {secret}"
        said.set()
        await go.wait()

    async with running(worker):
        task = await job.enqueue(secret="the-treasure").start(encrypt=True)
        await said.wait()
        stored = await place.link.command("HGETALL", place.keys.partial(task.id.encode()))
        assert b"the-treasure" not in repr(stored).encode()
        assert await task.progress() == "halfway to the-treasure"
        report = await worker.audit()
        assert (report.exit_code, report.kinds["part"]) == (0, 2)
        await place.link.command("HSET", place.keys.partial(task.id.encode()), "7", b"unsigned")
        assert (await worker.audit()).severities["critical"] == 1
        go.set()
