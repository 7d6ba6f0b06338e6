"""A ``/health`` route says whether the worker is well. Here the worker has it itself, and no web application is needed."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import eventually
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def ask(port: int, path: str) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return (await stream.receive()).split(b"\r\n")[0]


async def test_a_worker_that_runs_is_ready_and_one_that_does_not_is_alive(place: Place) -> None:
    worker = place.worker()

    async def is_ready() -> bool:
        return (await ask(port, "/ready")).endswith(b"200 OK")

    async with worker, anyio.create_task_group() as group:
        port = await group.start(worker.tell_health, "127.0.0.1:0")
        assert (await ask(port, "/health")).endswith(b"200 OK")
        assert b" 503 " in await ask(port, "/ready")
        async with anyio.create_task_group() as run:
            await run.start(worker.run_async)
            await eventually(is_ready)
            worker.drain()
        assert b" 503 " in await ask(port, "/ready")
        group.cancel_scope.cancel()
