"""``tz``: the time zone in which crontab expressions are read; UTC by default, and each schedule may have its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from secure_queue import Router, Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


def a_worker(**options: Any) -> Worker[None]:
    return Worker("redis://queue.invalid", signing_secret=SECRET, **options)


@pytest.mark.parametrize(("tz", "hour"), [(None, 3), ("Europe/Berlin", 2), (ZoneInfo("Asia/Tokyo"), 18)], ids=str)
async def test_a_schedule_fires_by_the_clock_of_its_worker(tz: Any, hour: int) -> None:
    worker = a_worker(**({} if tz is None else {"tz": tz}))
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


@pytest.mark.parametrize("part", [Router, a_worker], ids=["router", "worker"])
def test_what_names_no_zone_has_that_of_the_worker_that_includes_it(part: Any) -> None:
    def rules(declarations: Any) -> dict[str, str]:
        return {name: str(one.repeated.plan.rule) for name, one in declarations.declared_schedules.items()}

    inner, own, worker = part(), Router(tz="Asia/Tokyo"), a_worker(tz="Europe/Berlin")
    inner.cron("0 1 * * *", name="before")(_nothing)
    between = Router(routers=[inner, own])
    own.cron("0 2 * * *", name="own")(_nothing)
    worker.include(between)
    inner.cron("0 3 * * *", name="after")(_nothing)
    inner.cron("0 4 * * *", name="said", tz="UTC")(_nothing)
    assert rules(worker) == {
        "before": "0 1 * * * (Europe/Berlin)",
        "own": "0 2 * * * (Asia/Tokyo)",
        "after": "0 3 * * * (Europe/Berlin)",
        "said": "0 4 * * * (UTC)",
    }
    assert rules(inner)["before"] == "0 1 * * * (UTC)"


async def _nothing() -> None: ...
