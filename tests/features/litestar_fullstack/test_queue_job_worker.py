"""Queue, job, worker: a job is a name and its data; an application has many queues, a queue many workers, elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_jobs_are_names_and_data_that_any_worker_of_their_queue_takes(place: Place) -> None:
    ran: list[tuple[str, str, int]] = []

    def worker_of(queue: str) -> Worker[Any]:
        worker = place.worker(queue_name=queue)

        @worker.task(name="job")
        async def job(number: int) -> None:
            ran.append((queue, worker.id, number))

        return worker

    background = [worker_of("background-tasks") for _ in range(2)]
    system = worker_of("system-tasks")
    app = {queue: place.worker(queue_name=queue) for queue in ("background-tasks", "system-tasks")}  # no code here
    async with app["background-tasks"], app["system-tasks"]:
        jobs = [app["background-tasks"].enqueue_by_name("job", number) for number in range(10)]
        await app["background-tasks"].enqueue_many(jobs)
        jobs.append(await app["system-tasks"].enqueue_by_name("job", 99))
        async with running(background[0]), running(background[1]), running(system):
            for job in jobs:
                assert (await job.result(timeout=PATIENCE)).success
    assert sorted(number for queue, _, number in ran if queue == "background-tasks") == list(range(10))
    assert [(worker, number) for queue, worker, number in ran if queue == "system-tasks"] == [(system.id, 99)]
