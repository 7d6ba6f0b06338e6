"""Run multiple workers: as many as there are cores share a queue, and each job runs once."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_each_job_runs_once_whoever_gets_it(place: Place) -> None:
    ran: list[tuple[str, int]] = []
    both = {0: anyio.Event(), 1: anyio.Event()}

    def one(which: int) -> Worker[Any]:
        worker = place.worker(concurrency=1, prefetch=0)

        @worker.task(name="note")
        async def note(number: int) -> None:
            ran.append((worker.id, number))
            both[which].set()
            await both[1 - which].wait()  # each holds a job at the same time

        return worker

    workers = [one(0), one(1)]
    async with running(workers[0]), running(workers[1]):
        tasks = [workers[0].enqueue_by_name("note", number) for number in range(20)]
        await workers[0].enqueue_many(tasks)
        for task in tasks:
            await task.result(timeout=PATIENCE)
    assert sorted(number for _, number in ran) == list(range(20))
    assert {worker_id for worker_id, _ in ran} == {worker.id for worker in workers}
