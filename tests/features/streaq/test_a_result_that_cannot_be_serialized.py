"""⚠ A task of streaQ that returns what cannot be serialized ends its worker, and then the next; here it fails alone."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskFailed
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
async def test_that_task_fails_alone_and_at_once(place: Place, serializer: str) -> None:
    worker, runs = place.worker(serializer=serializer), list[int]()
    neighbour_began, proceed = anyio.Event(), anyio.Event()

    @worker.task
    async def hostile() -> object:
        runs.append(hostile.context.tries)
        return object()

    @worker.task
    async def neighbour() -> str:
        neighbour_began.set()
        await proceed.wait()
        return "undisturbed"

    async with running(worker):
        beside = await neighbour.enqueue()
        await neighbour_began.wait()
        outcome = await (await hostile.enqueue()).result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type.endswith("UnserializableValue")
        proceed.set()
        assert (await beside.result(timeout=PATIENCE)).result == "undisturbed"
    assert runs == [1]
