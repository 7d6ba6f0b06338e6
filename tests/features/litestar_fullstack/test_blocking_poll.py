"""A blocking poll of the queue: an idle worker asks a server for nothing but to be woken."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server, happens
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_an_idle_worker_leaves_the_queue_in_peace(server: Server) -> None:
    worker: Worker[Any] = Worker(f"unix://{server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        await happens(lambda: "bzpopmin" in [client["cmd"] for client in server.clients()])
        before = server.calls("evalsha")
        await anyio.sleep(0.5)  # a time in which nothing is to happen
        assert server.calls("evalsha") - before < 8  # upkeep twice a second, and no claims
        assert "bzpopmin" in [client["cmd"] for client in server.clients()]
        assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
