"""On completion a job leaves the active queue: what stays is its result, for as long as that is kept."""

from __future__ import annotations

import anyio
import pytest

from tests.conftest import lasting_keys
from tests.servers import PATIENCE
from tests.worker.places import PRIORITY, Place, running

pytestmark = pytest.mark.anyio


async def test_nothing_of_a_completed_job_stays_but_its_result(place: Place) -> None:
    worker, proceed, began = place.worker(), anyio.Event(), anyio.Event()

    @worker.task(ttl=60)
    async def job(number: int) -> int:
        began.set()
        await proceed.wait()
        return number

    async with running(worker):
        tasks = [await job.enqueue(number) for number in range(3)]
        await began.wait()
        proceed.set()
        for task in tasks:
            await task.result(timeout=PATIENCE)
        counts = await worker.counts()
        assert (counts.running, sum(counts.ready.values()), counts.results) == (0, 0, 3)
    for task in tasks:
        name = task.id.encode()
        assert await place.link.command("HGET", place.keys.bucket(name), name) is None
        assert await place.link.command("ZSCORE", place.keys.leases, name) is None
    assert place.keys.ready[PRIORITY] not in await lasting_keys(place.link)
