"""``CronJob(…, cron="* * * * *", timeout=300)``: every minute, for 300 seconds at most."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.servers import eventually
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_it_fires_at_each_minute() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)
    fired: list[tuple[float, float | None]] = []

    @worker.cron("* * * * *", unique=True, timeout=300)
    async def minutely() -> None:
        fired.append(((queue.clock.now - START).total_seconds(), minutely.context.timeout))

    async with TestWorker(worker, now=START) as queue:
        await queue.advance(minutes=3, seconds=30)
    assert fired == [(60, 300), (120, 300), (180, 300)]


async def test_its_timeout_ends_a_run(place: Place) -> None:
    worker = place.worker()

    @worker.cron("* * * * * *", timeout=0.05, max_tries=1, silent=True)
    async def endless() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        await eventually(worker.dead_letters)
        [letter, *_] = await worker.dead_letters()
        assert "exceeded its timeout" in letter.message  # type: ignore[union-attr]
