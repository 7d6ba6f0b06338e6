"""``await j.queue.declare()``, ``auto_declare=True``. ⚠ There ``enqueue`` raises ``KeyError`` if one forgets it.

Here there is nothing to declare: a queue is there when something is in it, for producers and for workers.
"""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_queue_that_nobody_has_seen_takes_jobs_and_serves_a_worker(place: Place) -> None:
    assert await place.link.command("KEYS", "*") == []
    producer, worker = place.worker(queue_name="never-declared"), place.worker(queue_name="never-declared")

    @worker.actor(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with producer:
        job = await producer.enqueue_by_name("double", 4)
        async with running(worker):
            assert (await job.result(timeout=PATIENCE)).result == 8


async def test_a_worker_that_finds_no_queue_waits_for_one(place: Place) -> None:
    worker = place.worker(queue_name="never-declared")

    @worker.actor
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        assert await worker.queue_size() == 0
        assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
