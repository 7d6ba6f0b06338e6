"""``worker.status_by_id(id)`` works from any process that has the same configuration."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_where_a_task_stands_is_known_to_whoever_has_its_id(place: Place) -> None:
    worker, elsewhere = place.worker(), place.worker()
    began, proceed = anyio.Event(), anyio.Event()

    @worker.task(max_tries=1)
    async def act(what: str) -> None:
        if what == "fail":
            raise LookupError
        began.set()
        await proceed.wait()

    async with worker, elsewhere:
        waiting, later, failing = (
            await act.enqueue("wait"),
            await act.enqueue("wait").start(delay=60),
            act.enqueue("fail"),
        )
        assert await elsewhere.status_by_id(failing.id) is TaskStatus.NOT_FOUND
        assert await elsewhere.status_by_id(waiting.id) is TaskStatus.QUEUED
        assert await elsewhere.status_by_id(later.id) is TaskStatus.SCHEDULED
    async with running(worker), elsewhere:
        await began.wait()
        assert await elsewhere.status_by_id(waiting.id) is TaskStatus.RUNNING
        proceed.set()
        await waiting.result(timeout=PATIENCE)
        await (await failing).result(timeout=PATIENCE)
        assert await elsewhere.status_by_id(waiting.id) is TaskStatus.DONE
        assert await elsewhere.status_by_id(failing.id) is TaskStatus.FAILED
