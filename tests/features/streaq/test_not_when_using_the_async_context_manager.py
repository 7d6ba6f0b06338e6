"""``async with worker:`` is the producer's side: no lifespan is run, and touching ``.context`` there is a clear error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from secure_queue import SecureQueueError
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_producer_opens_nothing_and_has_no_context(place: Place) -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        opened.append("pool")
        yield "pool"

    worker = place.worker(lifespan=lifespan)

    @worker.task
    async def use() -> str:
        return str(worker.context)

    async with worker:
        task = await use.enqueue()
        with pytest.raises(SecureQueueError, match="only while the worker runs tasks"):
            _ = worker.context
        assert opened == []
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == "pool"
    assert opened == ["pool"]
