"""``PrioritiesT.HIGH``, ``MEDIUM`` and ``LOW``, ``MEDIUM`` by default: names of one's own, served in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, Worker
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_high_comes_before_medium_before_low(place: Place) -> None:
    worker = place.worker(priorities=["low", "medium", "high"], concurrency=1, prefetch=0)
    served: list[str] = []

    @worker.actor(name="note")
    async def note(priority: str) -> None:
        served.append(note.context.priority)
        assert priority == note.context.priority

    async with worker:
        names = ["low", "medium", "high", "medium", "low", "high"]
        jobs = [note.enqueue(name).start(priority=name) for name in names]
        await worker.enqueue_many(jobs)
        async with running_beside(worker):
            for job in jobs:
                await job.result(timeout=PATIENCE)
    assert served == ["high", "high", "medium", "medium", "low", "low"]


async def test_what_says_nothing_has_the_usual_one_also_when_it_is_scheduled(place: Place) -> None:
    worker = place.worker(priorities=["low", "medium", "high"], default_priority="medium")
    done = anyio.Event()

    @worker.actor
    async def which() -> str:
        return which.context.priority

    @worker.cron("* * * * * *", misfire="skip")
    async def often() -> None:
        if often.context.priority == "medium":
            done.set()

    async with worker, running_beside(worker):
        assert (await (await which.enqueue()).result(timeout=PATIENCE)).result == "medium"
        assert (await (await which.enqueue().start(priority="low")).result(timeout=PATIENCE)).result == "low"
        with anyio.fail_after(PATIENCE):
            await done.wait()
    assert Worker("memory://", priorities=["low", "high"])._queue.default_priority == "low"
    with pytest.raises(ConfigurationError, match="default_priority must be one of the priorities: low, high"):
        Worker("memory://", priorities=["low", "high"], default_priority="medium")


@asynccontextmanager
async def running_beside(worker: Worker[Any]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        await group.start(worker.run_async)
        yield
        worker.stop()
