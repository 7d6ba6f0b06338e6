"""``worker.info_by_id(id)``: what is stored of a task that has not finished, from any process."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from secure_queue import TaskStatus
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_a_task_that_waits_is_told_with_its_arguments(place: Place) -> None:
    worker, elsewhere = place.worker(), place.worker()
    user = uuid4()
    moment = datetime(2040, 1, 1, tzinfo=UTC)
    async with worker, elsewhere:
        task = await worker.enqueue_by_name("send", user, text="hello").start(schedule=moment)
        info = await elsewhere.info_by_id(task.id)
        assert info is not None
        assert (info.fn_name, info.args, info.kwargs) == ("send", (user,), {"text": "hello"})
        assert (info.scheduled, info.status, info.tries) == (moment, TaskStatus.SCHEDULED, 0)
        assert await elsewhere.info_by_id("unknown") is None
