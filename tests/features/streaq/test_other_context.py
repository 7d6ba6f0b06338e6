"""``other.context``: tasks that know nothing of the main worker still see its dependencies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from secure_queue import ConfigurationError, Router, SecureQueueError
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def lifespan() -> AsyncIterator[dict[str, int]]:
    yield {"pool": 7}


@pytest.mark.parametrize("kind", ["worker", "router"])
async def test_a_task_of_a_module_sees_what_the_running_worker_keeps_open(place: Place, kind: str) -> None:
    worker = place.worker(lifespan=lifespan)
    other = place.worker() if kind == "worker" else Router()

    @other.task
    async def use() -> int:
        number: int = other.context["pool"]
        return number

    if kind == "router":
        with pytest.raises(ConfigurationError, match=r"worker\.include"):
            _ = other.context
    worker.include(other)
    async with running(worker):
        assert (await (await use.enqueue()).result(timeout=PATIENCE)).result == 7
    with pytest.raises(SecureQueueError, match="run_async"):
        _ = other.context
