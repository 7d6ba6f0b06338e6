"""Pauses: nothing is begun while they last, everything afterwards, and nothing else is touched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from secure_queue import ConfigurationError
from secure_queue.pausing import Pause
from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_paused_queue_begins_nothing_and_what_runs_goes_on(place: Place) -> None:
    worker = place.worker()
    started, release, begun = anyio.Event(), anyio.Event(), list[str]()

    @worker.task
    async def work(name: str) -> str:
        begun.append(name)
        started.set()
        await release.wait()
        return name

    async with running(worker):
        first = await work.enqueue("first")
        await started.wait()
        await worker.pause()
        assert await worker.paused() == [Pause()]
        second = await work.enqueue("second")
        release.set()
        assert (await first.result(timeout=PATIENCE)).result == "first"
        assert await place.storage.claim("any", b"any.1", 5, 60_000) == (False, [])
        assert begun == ["first"]
        assert await worker.resume() and not await worker.resume()
        assert (await second.result(timeout=PATIENCE)).result == "second"


async def test_a_paused_task_waits_and_the_others_go_on(place: Place) -> None:
    worker = place.worker()

    @worker.task(name="paused")
    async def paused(number: int) -> int:
        return number

    @worker.task(name="other")
    async def other() -> str:
        return "other"

    async with worker:
        await worker.pause(task="paused")
        async with running(place.worker(tasks=[paused, other])) as runner:
            tasks = [await worker.enqueue_by_name("paused", number) for number in range(5)]

            async def are_laid_aside() -> bool:
                return runner.counters["shelved"] >= 5

            assert (await (await worker.enqueue_by_name("other")).result(timeout=PATIENCE)).result == "other"
            await eventually(are_laid_aside)
            assert [pause.task for pause in await worker.paused()] == ["paused"]
            assert await worker.resume(task="paused")
            assert [(await task.result(timeout=PATIENCE)).result for task in tasks] == list(range(5))


async def test_a_pause_ends_at_its_time(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def work() -> str:
        return "done"

    async with worker:
        await worker.pause(until=datetime.now(UTC) + timedelta(seconds=0.3))
        [pause] = await worker.paused()
        assert pause.left_s is not None and 0 < pause.left_s <= 0.35  # clocks are compared in whole milliseconds
        async with running(place.worker(tasks=[work])):
            assert (await (await work.enqueue()).result(timeout=PATIENCE)).result == "done"


async def test_what_cannot_be_paused_is_said_at_once(place: Place) -> None:
    async with place.worker() as worker:
        for mistake in (
            {"priority": "nope"},
            {"priority": "normal", "task": "x"},
            {"task": "a\nb"},
            {"seconds": 0},
            {"seconds": 1, "until": datetime.now(UTC)},
            {"until": datetime(2030, 1, 1)},
            {"until": datetime.now(UTC) - timedelta(seconds=1)},
        ):
            with pytest.raises(ConfigurationError):
                await worker.pause(**mistake)
        assert await worker.paused() == []
