"""A TCP proxy between the library and a server: it loses the reply to a script, falls silent, or opens slowly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup

from secure_queue.local.access import LOOPBACK

CHUNK = 65_536


class Proxy:
    """Passes everything on to *port*, unless it is told otherwise; each connection speaks *opening_s* seconds late."""

    def __init__(self, port: int, *, opening_s: float = 0.0) -> None:
        self._to = port
        self._opening_s = opening_s
        self._loud = anyio.Event()
        self._loud.set()
        self._wanted: dict[bytes, str] = {}
        self.port = 0
        self.lost: list[str] = []
        """The names of the scripts whose replies have been lost."""

    def lose_replies(self, scripts: dict[bytes, str]) -> None:
        """Lose the next reply to each of these scripts (names by hash), together with its connection."""
        self._wanted = dict(scripts)

    def fall_silent(self) -> None:
        """Keep all connections, take new ones, and pass nothing on."""
        self._loud = anyio.Event()

    def speak(self) -> None:
        """Pass on again what was held back, and everything after it."""
        self._loud.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a port of its own (``port``) for the time of the context."""
        async with await anyio.create_tcp_listener(local_host=LOOPBACK) as listener, anyio.create_task_group() as group:
            self.port = listener.extra(SocketAttribute.local_port)
            group.start_soon(listener.serve, self._pass_on)
            yield
            group.cancel_scope.cancel()

    async def _pass_on(self, client: SocketStream) -> None:
        async with client:
            await anyio.sleep(self._opening_s)
            try:
                server = await anyio.connect_tcp(LOOPBACK, self._to)
            except OSError:  # the server is away, so the client is refused
                return
            async with server, anyio.create_task_group() as group:
                connection = _Connection(self, client, server)
                group.start_soon(connection.requests, group)
                group.start_soon(connection.replies, group)

    async def until_loud(self) -> None:
        """Return when it speaks."""
        await self._loud.wait()

    def reply_to_lose(self, request: bytes) -> str | None:
        """The name of the script in *request* whose reply is to be lost."""
        for sha in list(self._wanted):
            if sha in request:
                return self._wanted.pop(sha)
        return None


class _Connection:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: ByteStream, server: ByteStream) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._losing: str | None = None

    async def requests(self, group: TaskGroup) -> None:
        try:
            while True:
                request = await self._client.receive(CHUNK)
                await self._proxy.until_loud()
                self._losing = self._losing or self._proxy.reply_to_lose(request)
                await self._server.send(request)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            group.cancel_scope.cancel()

    async def replies(self, group: TaskGroup) -> None:
        try:
            while True:
                reply = await self._server.receive(CHUNK)
                await self._proxy.until_loud()
                if self._losing is not None:
                    self._proxy.lost.append(self._losing)
                    break
                await self._client.send(reply)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        group.cancel_scope.cancel()
