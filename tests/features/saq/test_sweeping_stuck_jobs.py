"""Sweeping stuck jobs. ⚠ In SAQ live jobs are swept; here what runs keeps its lease, also when it blocks the event loop."""

from __future__ import annotations

import time

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_job_that_blocks_its_event_loop_is_alive(place: Place) -> None:
    worker, runs = place.worker(idle_timeout=1), list[int]()

    @worker.task
    async def block() -> int:
        runs.append(1)
        time.sleep(1.6)  # noqa: ASYNC251 - longer than a lease, and no other code of this loop runs
        return block.context.tries

    async with running(worker):
        outcome = await (await block.enqueue()).result(timeout=PATIENCE)
    assert (outcome.result, len(runs)) == (1, 1)


async def test_a_job_that_is_stuck_is_ended_by_its_timeout_and_not_by_a_sweep(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=0.05, max_tries=1, silent=True)
    async def stuck() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await stuck.enqueue()).result(timeout=PATIENCE)
        assert str(outcome.exception) == "TimeoutError: the task exceeded its timeout"
        assert (await worker.counts()).running == 0
