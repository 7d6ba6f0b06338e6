"""⚠ ``async with worker:`` and ``worker.run_async()`` in one process raise in streaQ; here one object is both at once."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_one_object_enqueues_and_runs_at_the_same_time(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def outer() -> int:
        return (await (await inner.enqueue()).result(timeout=PATIENCE)).result + 1

    @worker.task
    async def inner() -> int:
        return 1

    async with worker:
        early = await outer.enqueue()
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            late = await outer.enqueue()
            assert (await early.result(timeout=PATIENCE)).result == 2
            assert (await late.result(timeout=PATIENCE)).result == 2
            worker.drain()
        assert (await worker.result_by_id(late.id)).result == 2  # the producer's side goes on
