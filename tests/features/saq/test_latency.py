"""Latency "< 5 ms", where ARQ polls every half second."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

IN_A_ROW = 20
"""So many that a worker which polls, be it every ten milliseconds, is not in time for the half of them by chance."""


async def test_a_job_begins_within_five_milliseconds(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    worker: Worker[Any] = Worker(f"unix://{real_server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def noop() -> None: ...

    async def wait_of_one() -> int:
        outcome = await (await noop.enqueue()).result(timeout=PATIENCE)
        return outcome.start_time - outcome.enqueue_time

    async def half_of_them_are_in_time() -> bool:
        return median([await wait_of_one() for _ in range(IN_A_ROW)]) < 5

    async with running(worker):
        await eventually(half_of_them_are_in_time, patience=1.5 * PATIENCE)  # a busy machine is given more rows
