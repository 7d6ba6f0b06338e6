"""⚠ While Redis is away a worker of SAQ asks for jobs thousands of times a second, and logs nothing of it."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from tests.servers import happens
from tests.worker.places import SECRET

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_an_outage_is_logged_and_waited_for_with_pauses(caplog: pytest.LogCaptureFixture) -> None:
    attempts = 0

    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        nonlocal attempts
        attempts += 1
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    worker: Worker[Any] = Worker(f"redis://127.0.0.1:{port}", signing_secret=SECRET, handle_signals=False)
    with caplog.at_level(logging.WARNING, "secure_queue"):
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, hang_up)
            group.start_soon(worker.run_async)
            await happens(lambda: caplog.records)
            before, since = attempts, anyio.current_time()
            await anyio.sleep(0.6)  # a time in which little is to happen
            assert attempts - before < 30 * (anyio.current_time() - since)
            group.cancel_scope.cancel()
    assert attempts > 1
    await listener.aclose()
