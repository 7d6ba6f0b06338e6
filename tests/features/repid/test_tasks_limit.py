"""``tasks_limit=1000``: how many actors run at once; here it is ``concurrency``, and a thousand are as good as ten."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

LIMIT = 1000


async def test_a_thousand_run_at_once_and_no_more() -> None:
    worker: Worker[None] = Worker("memory://", concurrency=LIMIT, handle_signals=False)
    at_once, most = 0, 0
    full, proceed = anyio.Event(), anyio.Event()

    @worker.actor
    async def wait() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == LIMIT:
            full.set()
        await proceed.wait()
        at_once -= 1

    async with running(worker):
        jobs = [wait.enqueue() for _ in range(LIMIT + 20)]
        await worker.enqueue_many(jobs)
        with anyio.fail_after(PATIENCE):
            await full.wait()
        proceed.set()
        for job in jobs:
            assert (await job.result(timeout=PATIENCE)).success
    assert most == LIMIT
