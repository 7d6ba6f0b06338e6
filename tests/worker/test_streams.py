"""Progress and parts of results: what a task says before its end reaches its caller, in order and complete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, Depends, Router, SecureQueueError, StreamBroken, TaskFailed
from secure_queue.tasks import CallNext
from tests.features.conftest import place as place
from tests.servers import PATIENCE, eventually
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


async def test_parts_arrive_while_the_task_runs(place: Place) -> None:
    worker = place.worker(serializer="json")
    seen = anyio.Event()

    @worker.task
    async def count(to: int, *, step: int = Depends(lambda: 1)) -> AsyncIterator[int]:
        for number in range(0, to, step):
            if number == 2:
                await seen.wait()  # the caller has the first two by then
            yield number

    async with running(worker):
        task = await count.enqueue(250)
        found = []
        async for number in task.stream():
            found.append(number)
            if number == 1:
                seen.set()
        assert found == list(range(250))
        assert (await task.result(timeout=PATIENCE)).result == 250
        assert [number async for number in task.stream()] == found, "and once more, from the first one on"


async def test_a_task_that_yields_nothing_is_an_empty_stream(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def nothing() -> AsyncIterator[int]:
        return
        yield 1

    async with running(worker):
        assert [part async for part in (await nothing.enqueue()).stream()] == []


async def test_a_stream_ends_as_its_task_ends(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def breaks() -> AsyncIterator[Any]:
        yield "one"
        yield 2
        raise LookupError("no more")

    async with running(worker):
        task = await breaks.enqueue()
        found: list[Any] = []
        with pytest.raises(TaskFailed, match="LookupError: no more"):
            async for part in task.stream():
                found.append(part)
        assert found == ["one", 2]


async def test_a_part_that_cannot_be_serialized_fails_its_task(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def strange() -> AsyncIterator[Any]:
        yield object()

    async with running(worker):
        with pytest.raises(TaskFailed, match="UnserializableValue"):
            async for _ in (await strange.enqueue()).stream():
                raise AssertionError("nothing can come")


async def test_another_try_is_another_stream(place: Place) -> None:
    worker = place.worker()
    seen = anyio.Event()

    @worker.task(retry_policy=AT_ONCE)
    async def twice() -> AsyncIterator[str]:
        yield f"{twice.context.tries}.0"
        await seen.wait()
        if twice.context.tries == 1:
            raise LookupError
        yield f"{twice.context.tries}.1"

    async with running(worker):
        task = await twice.enqueue()
        with pytest.raises(StreamBroken, match="another try"):
            async for _ in task.stream():
                seen.set()
        assert [part async for part in task.stream()] == ["2.0", "2.1"]


@pytest.mark.parametrize("again", ["by another try", "by a middleware"])
async def test_as_many_parts_of_another_stream_are_not_taken_for_those_that_came(place: Place, again: str) -> None:
    worker, seen, streams = place.worker(), anyio.Event(), list[int]()

    def once_more(call_next: CallNext) -> CallNext:
        async def call() -> Any:
            try:
                return await call_next()
            except LookupError:
                return await call_next()

        return call

    @worker.task(retry_policy=AT_ONCE, middleware=once_more if again == "by a middleware" else ())
    async def three() -> AsyncIterator[str]:
        streams.append(number := len(streams))
        for part in range(3):
            yield f"{number}.{part}"
            if number == 0 and part == 1:
                await seen.wait()
                raise LookupError

    async with running(worker):
        task = await three.enqueue()
        parts = task.stream()
        assert [await anext(parts), await anext(parts)] == ["0.0", "0.1"]
        seen.set()
        await task.result(timeout=PATIENCE)
        with pytest.raises(StreamBroken):
            await anext(parts)
        assert [part async for part in task.stream()] == ["1.0", "1.1", "1.2"]


async def test_the_number_of_parts_alone_says_nothing(place: Place) -> None:
    worker, seen = place.worker(), anyio.Event()

    @worker.task(retry_policy=AT_ONCE)
    async def resume(rest: int) -> AsyncIterator[int]:
        tries = resume.context.tries
        for _ in range(2 if tries == 1 else rest):
            yield tries
        if tries == 1:
            await seen.wait()
            raise LookupError

    async with running(worker):
        for rest in (2, 0):
            task, seen = await resume.enqueue(rest), anyio.Event()
            parts = task.stream()
            assert [await anext(parts), await anext(parts)] == [1, 1]
            seen.set()
            await task.result(timeout=PATIENCE)
            with pytest.raises(StreamBroken):
                await anext(parts)
            assert [part async for part in task.stream()] == [2] * rest


async def test_the_result_of_a_task_that_does_not_yield_is_no_stream(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def plain() -> str:
        return "a result"

    async with running(worker):
        with pytest.raises(ConfigurationError, match=r"does not yield its result in parts; ask for it with result\(\)"):
            assert [part async for part in (await plain.enqueue()).stream()]


async def test_parts_that_are_gone_are_missed(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def count() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async with running(worker):
        task = await count.enqueue()
        await task.result(timeout=PATIENCE)
        await place.link.command("HDEL", place.keys.partial(task.id.encode()), "2")
        with pytest.raises(StreamBroken, match="gone"):
            assert [part async for part in task.stream()]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_progress_is_told_and_the_last_word_counts(place: Place, kind: str) -> None:
    worker, router = place.worker(), Router()
    go = anyio.Event()

    async def work() -> str:
        await export.report({"done": 1, "of": 2})
        await go.wait()
        await worker.report({"done": 2, "of": 2})
        return "done"

    def work_in_a_thread() -> str:
        return anyio.from_thread.run(work)

    export = router.task(name="export")(work if kind == "async" else work_in_a_thread)
    worker.include(router)
    async with running(worker):
        task = await export.enqueue()

        async def half() -> bool:
            return await task.progress() == {"done": 1, "of": 2}

        await eventually(half)
        words = []
        async for word in task.updates():
            words.append(word)
            go.set()
        assert words == [{"done": 1, "of": 2}, {"done": 2, "of": 2}]
        assert await task.progress() == {"done": 2, "of": 2}
        assert (await task.result(timeout=PATIENCE)).result == "done"


async def test_only_a_running_task_has_progress(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    async with running(worker):
        with pytest.raises(SecureQueueError, match="running task"):
            await noop.report(0.5)
        task = await noop.enqueue()
        assert [word async for word in task.updates()] == []
        assert await task.progress() is None


async def test_a_run_whose_lease_was_lost_is_not_heard(place: Place) -> None:
    worker = place.worker()
    begun, go, ended = anyio.Event(), anyio.Event(), anyio.Event()

    @worker.task(max_tries=1)
    async def stale() -> None:
        begun.set()
        await go.wait()
        try:
            await stale.report("forged by a dead hand")
        finally:
            ended.set()

    async with running(worker):
        task = await stale.enqueue()
        await begun.wait()
        name = task.id.encode()
        await place.link.command("HSET", place.keys.bucket(name), b"!r" + name, "1:normal:somebody-else")
        go.set()
        await ended.wait()
        assert await task.progress() is None
        await place.link.command("DEL", place.keys.bucket(name))


def test_a_generator_that_is_not_async_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="async def"):

        @Router().task
        def parts() -> Any:
            yield 1
