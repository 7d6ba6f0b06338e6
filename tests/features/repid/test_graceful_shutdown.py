"""Graceful shutdown: no more is taken, what runs has 25 seconds, and what needs longer goes back and has lost no try."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskStatus, Worker
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_what_is_too_slow_is_requeued_with_its_tries_as_they_were(place: Place) -> None:
    worker = place.worker(concurrency=2, prefetch=2, grace_period=0.2)
    began = {"quick": anyio.Event(), "slow": anyio.Event()}
    ran: list[str] = []

    @worker.actor(max_tries=1)
    async def job(name: str) -> str:
        if name in began:
            began[name].set()
        if name != "quick":
            await anyio.sleep_forever()
        await began["slow"].wait()
        ran.append(name)
        return name

    async with worker:
        quick, slow, waiting = [await job.enqueue(name) for name in ("quick", "slow", "waiting")]
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            await began["slow"].wait()
            worker.drain()
        assert (await quick.result(timeout=PATIENCE)).result == "quick"
        for task in (slow, waiting):
            info = await task.info()
            assert info is not None and (info.status, info.tries) == (TaskStatus.QUEUED, 0)
    assert Worker("memory://")._settings.grace_period_s == 25


async def test_what_ends_in_time_comes_to_its_end(place: Place) -> None:
    worker, began, draining = place.worker(grace_period=PATIENCE), anyio.Event(), anyio.Event()

    @worker.actor
    async def job() -> str:
        began.set()
        await draining.wait()
        await anyio.sleep(0.05)  # work that is left when the worker is told to end
        return "its end"

    async with worker:
        task = await job.enqueue()
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            await began.wait()
            worker.drain()
            draining.set()
        outcome = await task.result(timeout=PATIENCE)
        assert (outcome.result, outcome.tries) == ("its end", 1)
