"""``async with app.magic():`` opens what jobs need, and nothing is passed on: an actor's ``enqueue`` finds its worker."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Router, SecureQueueError
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_nothing_is_passed_to_whoever_enqueues(place: Place) -> None:
    router = Router()

    @router.actor
    async def add(a: int, b: int) -> int:
        return a + b

    async def deep_inside_the_application() -> Any:
        return await add.enqueue(1, 2)

    worker = place.worker(routers=[router])
    with pytest.raises(SecureQueueError, match="async with worker"):
        await deep_inside_the_application()
    async with running(worker):
        job = await deep_inside_the_application()
        assert (await job.result(timeout=PATIENCE)).result == 3
    with pytest.raises(SecureQueueError, match="async with worker"):
        await deep_inside_the_application()
