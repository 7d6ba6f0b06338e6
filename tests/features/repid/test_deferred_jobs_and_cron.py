"""``deferred_until``, ``deferred_by``, ``cron`` and ``ttl`` of a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_job_runs_at_its_time_or_not_at_all_after_its_ttl() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)
    did: list[tuple[str, float]] = []

    @worker.actor
    async def note(what: str) -> None:
        did.append((what, (queue.clock.now - START).total_seconds() / 60))

    async with TestWorker(worker, now=START) as queue:
        await note.enqueue("until").start(schedule=START + timedelta(minutes=90))
        await note.enqueue("by").start(delay=timedelta(minutes=30))
        await note.enqueue("cron").start(schedule="0 * * * *")
        late = await note.enqueue("late").start(expire=timedelta(minutes=5))
        queue.clock.move(minutes=6)
        await queue.advance(minutes=94)
        assert not (await late.result()).success
    assert did == [("by", 30), ("cron", 60), ("until", 90)]
