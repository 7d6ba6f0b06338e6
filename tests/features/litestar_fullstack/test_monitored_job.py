"""``monitored_job(interval=None)`` and its ``HeartbeatManager``: a decorator for jobs that take long. ⚠ Here none is needed.

There a long job without the decorator is taken for stuck. Here the worker prolongs the lease of whatever it runs, async or
sync, and whoever wants to know how long that lease holds asks for it.
"""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_lease_of_a_plain_function_is_prolonged_as_long_as_it_runs(place: Place) -> None:
    worker, proceed = place.worker(idle_timeout=1), threading.Event()
    tried: list[int] = []

    @worker.task
    async def on_the_loop() -> None:
        tried.append(on_the_loop.context.tries)
        while not proceed.is_set():
            await anyio.sleep(0.01)  # how often, not a time to wait for something

    @worker.task
    def in_a_thread() -> None:
        tried.append(in_a_thread.context.tries)
        proceed.wait(PATIENCE)

    async with running(worker):
        jobs = [await on_the_loop.enqueue(), await in_a_thread.enqueue()]
        await eventually(lambda: all_run(jobs))
        ends = [await lease_end(place, job) for job in jobs]

        async def have_all_outlived_their_first_lease() -> bool:
            return all([await lease_end(place, job) > end + 1000 for job, end in zip(jobs, ends, strict=True)])

        await eventually(have_all_outlived_their_first_lease)
        [reason] = (await jobs[0].explain()).reasons
        assert reason.why.value == "running" and worker.id in reason.text
        proceed.set()
        for job in jobs:
            assert (await job.result(timeout=PATIENCE)).success
    assert tried == [1, 1]


async def all_run(jobs: list[Any]) -> bool:
    return all([await job.status() == "running" for job in jobs])


async def lease_end(place: Place, job: Any) -> float:
    """When its lease ends, in milliseconds."""
    score: Any = await place.link.command("ZSCORE", place.keys.leases, job.id)
    return float(score)
