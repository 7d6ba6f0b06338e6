"""``unique=True`` "prevents duplicates if the worker restarts": one run for each firing, however many workers.

⚠ In SAQ ``unique=False`` floods the queue: a job of once a year was queued once a second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.servers import happens
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

START = datetime(2029, 12, 31, 23, 59, 56, tzinfo=UTC)


@pytest.mark.parametrize("unique", [True, False])
async def test_workers_that_come_and_go_run_each_firing_once(unique: bool) -> None:
    """Each drain and each step of the clock is a whole life of a worker."""
    fired: list[datetime] = []

    def one() -> Worker[Any]:
        worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)

        @worker.cron("0 0 1 1 *", name="yearly", unique=unique)
        async def yearly() -> None:
            fire_time = yearly.context.fire_time
            assert fire_time is not None
            fired.append(fire_time)

        return worker

    first, second = one(), one()
    async with TestWorker(first, now=START) as queue, TestWorker(second, clock=queue.clock) as other:
        for _ in range(3):
            await queue.advance(seconds=1)
            await other.drain()
        assert fired == []
        assert await first.queue_size() == 0
        for _ in range(3):
            await queue.advance(seconds=1)
            await other.drain()
    assert fired == [datetime(2030, 1, 1, tzinfo=UTC)]


async def test_unique_keeps_runs_apart_and_without_it_they_may_overlap(place: Place) -> None:
    worker, proceed = place.worker(), anyio.Event()
    began = {"alone": 0, "together": 0}

    def declare(name: str) -> None:
        @worker.every(1, name=name, unique=name == "alone")
        async def job() -> None:
            began[name] += 1
            await proceed.wait()

    for name in began:
        declare(name)
    async with running(worker):
        await happens(lambda: began["together"] == 2)
        assert began["alone"] == 1
        proceed.set()
