"""A fallback for old servers, as RPOPLPUSH is one for BLMOVE: here every command is known since Redis 6.2."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.redis.roles import Dialect
from tests.servers import PATIENCE, Server, bundled_binary, dialect_of
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_the_oldest_supported_server_runs_tasks_schedules_and_workflows() -> None:
    assert dialect_of(bundled_binary()) is next(iter(Dialect))
    with Server(binary=bundled_binary(), appendonly="no") as old:
        worker: Worker[Any] = Worker(f"unix://{old.unix_path}", signing_secret=SECRET, handle_signals=False)
        fired = anyio.Event()

        @worker.task
        async def double(number: int) -> int:
            return 2 * number

        @worker.every(1)
        async def tick() -> None:
            fired.set()

        async with running(worker):
            chain = await (double.enqueue(1) | double)
            assert (await chain.result(timeout=PATIENCE)).result == 4
            assert await (await double.enqueue(1).start(delay=60)).abort()
            await fired.wait()
