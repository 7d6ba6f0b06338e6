"""``tz``: the time zone in which crontab expressions are read; UTC by default, and each schedule may have its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("tz", "hour"), [(None, 3), ("Europe/Berlin", 2), (ZoneInfo("Asia/Tokyo"), 18)], ids=str)
async def test_a_schedule_fires_by_the_clock_of_its_worker(tz: Any, hour: int) -> None:
    worker = Worker("redis://queue.invalid", signing_secret=SECRET, **({} if tz is None else {"tz": tz}))
    fired: list[tuple[str, int]] = []

    @worker.cron("0 3 * * *", name="ours")
    async def ours() -> None:
        fired.append(("ours", queue.clock.now.hour))

    @worker.cron("0 12 * * *", name="theirs", tz="America/New_York")
    async def theirs() -> None:
        fired.append(("theirs", queue.clock.now.hour))

    async with TestWorker(worker, now=START) as queue:
        await queue.advance(hours=24)
    assert sorted(fired) == [("ours", hour), ("theirs", 17)]
