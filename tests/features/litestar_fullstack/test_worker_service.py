"""A ``worker`` service with ``restart: always`` that starts when Redis is healthy. ⚠ Here it need not be told to wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server
from tests.tour.blocks import ROOT
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


def test_the_unit_of_a_worker_restarts_it_and_gives_it_time_to_end() -> None:
    unit = (ROOT / "deploy" / "secure-queue@.service").read_text()
    assert "Restart=always" in unit and "KillSignal=SIGTERM" in unit
    [stop] = [line for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
    assert int(stop.partition("=")[2]) > Worker("memory://")._settings.grace_period_s


async def test_a_worker_that_was_started_first_waits_for_a_server_that_is_not_healthy_yet(server: Server) -> None:
    server.pause()  # it accepts connections, and answers nothing
    worker: Worker[Any] = Worker(f"unix://{server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run_async)
                await anyio.wait_all_tasks_blocked()
                server.resume()
                async with worker:
                    assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
                    worker.drain()
    finally:
        server.resume()
