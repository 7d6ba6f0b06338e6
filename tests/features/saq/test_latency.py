"""Latency "< 5 ms", where ARQ polls every half second."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_a_job_begins_within_five_milliseconds(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    worker: Worker[Any] = Worker(f"unix://{real_server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def noop() -> None: ...

    waits: list[int] = []
    async with running(worker):
        while (
            len(waits) < 40 or min(waits) >= 5
        ):  # at the latest after the patience of the test, which is for busy machines
            outcome = await (await noop.enqueue()).result(timeout=PATIENCE)
            waits.append(outcome.start_time - outcome.enqueue_time)
    assert sorted(waits)[len(waits) // 2] < 250, "the mean of a worker that polls every half second"
