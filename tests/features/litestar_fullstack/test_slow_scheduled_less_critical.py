"""What is slow, scheduled or less critical goes into the background."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_each_of_the_three_has_its_way() -> None:
    worker: Worker[Any] = Worker(
        "redis://queue.invalid",
        signing_secret=SECRET,
        priorities=["less-critical", "normal"],
        concurrency=1,
        prefetch=0,
    )
    did: list[tuple[str, float]] = []

    @worker.task
    async def work(what: str) -> None:
        did.append((what, (queue.clock.now - START).total_seconds()))

    @worker.cron("0 3 * * *")
    async def nightly() -> None:
        did.append(("nightly", (queue.clock.now - START).total_seconds()))

    async with TestWorker(worker, now=START) as queue:
        await work.enqueue("statistics").start(priority="less-critical")
        await work.enqueue("slow report").start(priority="normal")
        await work.enqueue("reminder").start(delay=timedelta(hours=1))
        await queue.advance(hours=3)
    assert did == [("slow report", 0), ("statistics", 0), ("reminder", 3600), ("nightly", 10_800)]
