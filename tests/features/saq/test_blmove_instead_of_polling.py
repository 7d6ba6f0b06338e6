"""BLMOVE instead of polling, and the reliable-queue pattern: an idle worker blocks, and a job is not lost with it."""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE, Server, happens
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_an_idle_worker_waits_in_a_blocking_command(place: Place, real_server: Server) -> None:
    worker = place.worker()

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        if place.url.startswith("unix"):
            await happens(lambda: "bzpopmin" in [client["cmd"] for client in real_server.clients()])
        assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8


async def test_a_job_stays_in_redis_until_it_is_settled(place: Place) -> None:
    worker, other = place.worker(), place.worker()

    @other.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with worker:
        task = await worker.enqueue_by_name("double", 4)
        _, [claim] = await place.storage.claim("doomed", b"doomed.1", 1, 50)  # and it dies
        assert claim.untrusted_id == task.id.encode()
        async with running(other):
            assert (await task.result(timeout=PATIENCE)).result == 8
