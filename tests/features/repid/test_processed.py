"""``run()`` returns a runner with ``.processed``: how many actors have run."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place

pytestmark = pytest.mark.anyio


async def test_a_run_says_how_much_was_done_and_counts_each_try(place: Place) -> None:
    worker = place.worker()

    @worker.actor(retry_policy=AT_ONCE)
    async def job(fails: bool) -> None:
        if fails and job.context.tries == 1:
            raise LookupError

    async with worker:
        await worker.enqueue_many([job.enqueue(number == 0) for number in range(4)])
        worker.burst = True
        with anyio.fail_after(PATIENCE):
            report = await worker.run_async()
    assert report.processed == 5
