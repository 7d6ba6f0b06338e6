"""The default name of a queue is ``"default"``: a producer and a worker that name none meet there."""

from __future__ import annotations

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_who_names_no_queue_is_in_the_default_one(place: Place) -> None:
    producer, worker, named = (
        Worker(place.url, signing_secret=SECRET, handle_signals=False, **options)
        for options in ({}, {}, {"queue_name": "default"})
    )

    @worker.actor(name="where")
    async def where() -> str:
        return worker.queue_name

    async with producer, running(worker), named:
        job = await producer.enqueue_by_name("where")
        assert (await named.result_by_id(job.id, timeout=PATIENCE)).result == "default"
