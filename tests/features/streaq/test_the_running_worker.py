"""``other.abort_by_id`` inside a task is unsafe in streaQ. ⚠ Here it is as good as ``task.worker.abort_by_id``."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("way", ["other", "task.worker"])
async def test_a_task_of_a_module_aborts_through_the_worker_that_runs_it(place: Place, way: str) -> None:
    worker, other = place.worker(), place.worker(queue_name="a-queue-that-nobody-opens")
    began = anyio.Event()

    @other.task
    async def endless() -> None:
        began.set()
        await anyio.sleep_forever()

    @other.task
    async def abort(task_id: str) -> bool:
        safe = other if way == "other" else abort.worker
        return await safe.abort_by_id(task_id, timeout=PATIENCE)

    worker.include(other)
    async with running(worker):
        victim = await endless.enqueue()
        await began.wait()
        assert (await (await abort.enqueue(victim.id)).result(timeout=PATIENCE)).result is True
