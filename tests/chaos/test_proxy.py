"""The proxy does what the rows that use it rely on."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from secure_queue.local.access import LOOPBACK
from tests.chaos.proxy import Proxy
from tests.servers import PATIENCE

pytestmark = pytest.mark.anyio


async def answer(client: SocketStream) -> None:
    """Say "+" and what was asked."""
    async with client:
        async for request in client:
            await client.send(b"+" + request)


async def test_a_proxy_passes_on_falls_silent_and_loses_the_reply_to_a_script() -> None:
    async with await anyio.create_tcp_listener(local_host=LOOPBACK) as server, anyio.create_task_group() as group:
        group.start_soon(server.serve, answer)
        proxy = Proxy(server.extra(SocketAttribute.local_port))
        async with proxy.serving():
            async with await anyio.connect_tcp(LOOPBACK, proxy.port) as client:
                await client.send(b"EVALSHA abc")
                assert await client.receive() == b"+EVALSHA abc"
                proxy.fall_silent()
                await client.send(b"more")
                with anyio.move_on_after(0.1) as waiting:
                    await client.receive()
                assert waiting.cancelled_caught
                proxy.speak()
                with anyio.fail_after(PATIENCE):
                    assert await client.receive() == b"+more"
                proxy.lose_replies({b"abc": "claim"})
                await client.send(b"EVALSHA abc")
                with anyio.fail_after(PATIENCE), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await client.receive()
            assert proxy.lost == ["claim"]
            async with await anyio.connect_tcp(LOOPBACK, proxy.port) as client:
                await client.send(b"EVALSHA abc")
                assert await client.receive() == b"+EVALSHA abc"
        group.cancel_scope.cancel()
