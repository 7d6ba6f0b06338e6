"""Routing is done by the application: the name of a job selects its actor, and what nobody knows waits for who does."""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_name_selects_the_actor(place: Place) -> None:
    worker, newer = place.worker(), place.worker()
    for name in ("first", "second"):
        worker.actor(name=name)(lambda name=name: name)
    async with running(worker):
        for name in ("second", "first"):
            job = await worker.enqueue_by_name(name)
            assert (await job.result(timeout=PATIENCE)).result == name
        unknown = await worker.enqueue_by_name("third")
        newer.actor(name="third")(lambda: "third")
        async with running(newer):  # of the next release
            assert (await unknown.result(timeout=PATIENCE)).result == "third"
