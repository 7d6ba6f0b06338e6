"""``worker.abort_by_id(id)`` returns whether the task was stopped, be it queued, scheduled or running, from any process."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_task_is_stopped_wherever_it_stands(place: Place) -> None:
    worker, elsewhere = place.worker(), place.worker()
    began, told = anyio.Event(), list[str]()

    @worker.task
    async def endless() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            told.append("cancelled")

    @worker.task
    async def quick() -> None: ...

    async with worker, elsewhere:
        queued, later = await endless.enqueue(), await endless.enqueue().start(delay=60)
        assert await elsewhere.abort_by_id(queued.id) is True
        assert await elsewhere.abort_by_id(later.id) is True
        assert await elsewhere.abort_by_id("unknown") is False
    async with running(worker), elsewhere:
        victim, done = await endless.enqueue(), await quick.enqueue()
        await began.wait()
        assert await elsewhere.abort_by_id(victim.id, timeout=PATIENCE) is True
        await done.result(timeout=PATIENCE)
        assert await elsewhere.abort_by_id(done.id) is False
        assert await victim.status() is TaskStatus.ABORTED
    assert told == ["cancelled"]
