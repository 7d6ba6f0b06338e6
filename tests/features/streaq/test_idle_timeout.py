"""``idle_timeout``: after so many seconds a task whose worker has vanished is given to another one; 60 by default."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import TaskStatus, Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seconds", [None, 5])
async def test_what_a_worker_held_that_vanished_runs_elsewhere_after_it(seconds: int | None) -> None:
    options = {} if seconds is None else {"idle_timeout": seconds}
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET, **options)

    @worker.task
    async def tries() -> int:
        return tries.context.tries

    async with TestWorker(worker) as queue:
        claimed = await tries.enqueue()
        assert await queue.lose_worker() == [claimed.id]
        assert await queue.advance(seconds=(seconds or 60) - 1) == {}
        assert await claimed.status() is TaskStatus.RUNNING
        assert await queue.advance(seconds=1) == {"completed": 1}
        assert (await claimed.result()).result == 2
