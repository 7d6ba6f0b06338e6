"""Connections over a unix socket that can be cancelled in silence.

On asyncio, anyio's own stream for unix sockets makes the event loop report ``InvalidStateError`` whenever a read is
cancelled in the very moment in which data comes in, as happens when a link is closed. Waiting with ``wait_readable``
first has no such moment.
"""

from __future__ import annotations

from typing import Any

from anyio import wait_readable
from anyio.abc import ByteStream, SocketAttribute
from coredis.connection import UnixDomainSocketConnection


class QuietUnixConnection(UnixDomainSocketConnection):
    """coredis' connection on the stream below."""

    async def _connect(self) -> ByteStream:
        return _QuietStream(await super()._connect())


class _QuietStream(ByteStream):
    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._socket: Any = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not the one of Django

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await wait_readable(self._socket)
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()
