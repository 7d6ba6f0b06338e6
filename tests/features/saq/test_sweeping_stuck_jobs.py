"""Sweeping stuck jobs. ⚠ In SAQ live jobs are swept; here what runs keeps its lease, also when it blocks the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server, happens, wait_until
from tests.worker.places import Place, open_place, running

pytestmark = pytest.mark.anyio


async def test_a_job_that_blocks_its_event_loop_is_alive_and_no_other_worker_takes_it(real_server: Server) -> None:
    async with open_place("server", real_server) as place:
        worker, other = place.worker(idle_timeout=1), place.worker(idle_timeout=1)
        ran, ends = list[str](), list[float]()

        def declare(one: Worker[Any]) -> None:
            @one.task(name="block")
            async def block() -> int:
                ran.append(one.id)
                ends.append(lease_end(real_server, place, block.context.task_id))
                wait_until(lambda: lease_end(real_server, place, block.context.task_id) > ends[0] + 1000)
                return block.context.tries

        for each in (worker, other):
            declare(each)
        async with running(worker), in_a_thread(other):
            outcome = await (await worker.enqueue_by_name("block")).result(timeout=PATIENCE)
        assert (outcome.result, len(ran)) == (1, 1)


def lease_end(server: Server, place: Place, task_id: str) -> float:
    """When its lease ends, in milliseconds; asked without an event loop, because the one of the job is blocked."""
    return float(server.command("ZSCORE", place.keys.leases, task_id) or 0)


@asynccontextmanager
async def in_a_thread(worker: Worker[Any]) -> AsyncIterator[None]:
    """*worker* on an event loop of its own, which looks for stuck jobs while that of the test is blocked."""
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, worker.run_sync)
        await happens(lambda: worker.health().ready)
        yield
        worker.stop()


async def test_a_job_that_is_stuck_is_ended_by_its_timeout_and_not_by_a_sweep(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=0.05, max_tries=1, silent=True)
    async def stuck() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await stuck.enqueue()).result(timeout=PATIENCE)
        assert str(outcome.exception) == "TimeoutError: the task exceeded its timeout"
        assert (await worker.counts()).running == 0
