"""``tasks_limit=1000``: how many actors run at once; here it is ``concurrency``, and a thousand are as good as ten."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import PATIENCE, happens
from tests.worker.places import Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

LIMIT = 1000


async def test_a_thousand_run_at_once_and_no_more(place: Place) -> None:
    worker = place.worker(concurrency=LIMIT)
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
        await worker.enqueue_many([wait.enqueue() for _ in range(LIMIT + 20)])
        with anyio.fail_after(PATIENCE):
            await full.wait()
        proceed.set()
        await happens(lambda: worker.counters["completed"] == LIMIT + 20)
    assert most == LIMIT
