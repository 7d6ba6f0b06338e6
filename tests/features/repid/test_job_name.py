"""``Job(name=…)``: nothing but the name is required, and one job need not be one message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_name_is_a_job(place: Place) -> None:
    worker = place.worker()

    @worker.actor(name="awesome_job")
    async def awesome() -> str:
        return "done"

    async with running(worker):
        job = await worker.enqueue_by_name("awesome_job")
        assert (await job.result(timeout=PATIENCE)).result == "done"


async def test_one_job_is_run_as_often_as_it_is_repeated_or_tried() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)
    runs: list[str] = []

    @worker.actor
    async def periodic() -> None:
        runs.append("periodic")

    @worker.actor(max_tries=3)
    async def retried() -> None:
        runs.append("retried")
        if retried.context.tries < 3:
            raise LookupError

    async with TestWorker(worker, now=START) as queue:
        await periodic.enqueue().start(schedule=timedelta(minutes=1))
        await retried.enqueue()
        await queue.advance(minutes=2)
    assert sorted(runs) == ["periodic"] * 2 + ["retried"] * 3
