"""The link inside the process: the same Lua scripts, run by fakeredis, without a server and without sockets.

A ``MemoryServer`` is one database. It is found by name, counted by its users and forgotten with the last one, and it
may be used from several threads and event loops at once (a heartbeat thread has a loop of its own): each call runs to
its end under one lock, as each script does on a real server.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, ClassVar, cast

import anyio
from anyio.lowlevel import checkpoint, current_token
from coredis.parser import Parser

from secure_queue.durability import Assurance, Durability
from secure_queue.errors import ServerError
from secure_queue.redis.link import Argument, Link, Reply, Woken
from secure_queue.redis.retrying import LONGEST_PAUSE, translate
from secure_queue.redis.scripts import Script


class MemoryServer:
    """One database in this process, with the waiters and listeners that the calls of others wake."""

    _known: ClassVar[dict[str, MemoryServer]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        from secure_queue.redis.fake import ErrorReply, Fake  # needs an extra, which only memory:// asks for

        self._users = 0
        self._fake = Fake()
        self._error_reply = ErrorReply
        self._lock = threading.Lock()
        self._waiting: dict[bytes, list[_Bell]] = {}

    @classmethod
    @contextmanager
    def held(cls, name: str) -> Iterator[MemoryServer]:
        """The server called *name*, kept in being for the time of the context."""
        with cls._guard:
            server = cls._known.get(name) or cls()
            cls._known[name] = server
            server._users += 1
        try:
            yield server
        finally:
            with cls._guard:
                server._users -= 1
                if server._users == 0:
                    del cls._known[name]

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument]) -> Reply:
        """Run *script* and wake whoever waits for a marker that it left."""
        with self._lock:
            return self._settled(lambda: self._fake.run(script, keys, args))

    def send(self, *parts: Argument) -> Reply:
        """Run one command and wake whoever waits for a marker that it left."""
        with self._lock:
            return self._settled(lambda: self._fake.send(*parts))

    def take_marker(self, key: bytes, bell: _Bell) -> bytes | None:
        """Pop the first marker of *key*, or leave *bell* to be rung when there is one."""
        with self._lock:
            popped = self._settled(lambda: self._fake.send(b"ZPOPMIN", key))
            if popped:
                return cast("list[bytes]", popped)[0]
            self._waiting.setdefault(key, []).append(bell)
            return None

    def forget(self, key: bytes, bell: _Bell) -> None:
        """Take *bell* back, rung or not."""
        with self._lock:
            bells = self._waiting.get(key, [])
            if bell in bells:
                bells.remove(bell)
            if not bells:
                self._waiting.pop(key, None)

    @contextmanager
    def subscribed(self, channel: bytes, mailbox: _Mailbox) -> Iterator[None]:
        """Deliver what is published on *channel* to *mailbox* for the time of the context."""
        with self._lock:
            self._fake.subscribe(channel, mailbox)
        try:
            yield
        finally:
            with self._lock:
                self._fake.unsubscribe(channel, mailbox)

    def _settled(self, call: Callable[[], Reply]) -> Reply:
        try:
            return call()
        except self._error_reply as error:
            raise translate(Parser().parse_error(str(error)), "the memory server") from error
        finally:
            self._ring()

    def _ring(self) -> None:
        for key, bells in self._waiting.items():
            if self._fake.exists(key):
                for bell in bells:
                    bell.ring()


class MemoryLink:
    """Implements ``Link`` on a ``MemoryServer``; nothing here can be unavailable, so deadlines are not used."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    in_trouble = False

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run *script* to its end; other tasks get their turn before it."""
        await checkpoint()
        return self._server.run(script, keys, args)

    async def run_assured(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        """Run *script*; there is one copy, in this process."""
        return await self.run(script, keys, args, deadline), Durability.PRIMARY

    async def command(self, *parts: Argument) -> Reply:
        """Send one command; other tasks get their turn before it."""
        await checkpoint()
        return self._server.send(*parts)

    def on_new_history(self, listener: Callable[[], None]) -> None:
        """Nothing here is ever restarted or replaced."""

    async def _wait_for_wake(self, key: bytes, timeout: float) -> bytes | None:
        """Wait until some call has left a marker under *key*, and take it."""
        await checkpoint()
        try:
            return await self._wait(key, monotonic() + timeout)
        except ServerError:  # the key holds another type
            await anyio.sleep(LONGEST_PAUSE)
            return None

    async def _wait(self, key: bytes, end: float) -> bytes | None:
        while True:
            bell = _Bell()
            if (marker := self._server.take_marker(key, bell)) is not None:
                return marker
            try:
                with anyio.move_on_after(end - monotonic()) as scope:
                    await bell.wait()
            finally:
                self._server.forget(key, bell)
            if scope.cancelled_caught:
                return None

    async def run_when_woken(
        self, key: bytes, timeout: float, script: Script, keys: Sequence[bytes], args: Sequence[Argument]
    ) -> Woken | None:
        """Wait for a marker, then run *script*; the trouble that it may meet is left to ``run``."""
        marker = await self._wait_for_wake(key, timeout)
        try:
            return Woken(marker, self._server.run(script, keys, args))
        except ServerError:
            return None

    @asynccontextmanager
    async def listen(self, channel: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Receive what scripts and commands publish on *channel*."""
        await checkpoint()
        mailbox = _Mailbox()
        with self._server.subscribed(channel, mailbox):
            yield mailbox


@contextmanager
def open_memory(name: str, kind: Callable[[MemoryServer], Link] = MemoryLink) -> Iterator[Link]:
    """A link to the server called *name*, which is made now if nobody else uses it."""
    with MemoryServer.held(name) as server:
        yield kind(server)


class _Bell:
    """An event of one event loop that any thread may set."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._soon = call_soon()

    def ring(self) -> None:
        with suppress(RuntimeError):  # its loop has ended (trio: RunFinishedError), and the waiter with it
            self._soon(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class _Mailbox:
    """The messages of one subscription, in order; looks like a client's socket to fakeredis."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._bell = _Bell()

    def put_response(self, message: list[bytes]) -> None:
        self._messages.append(message[2])
        self._bell.ring()

    def __aiter__(self) -> _Mailbox:
        return self

    async def __anext__(self) -> bytes:
        await checkpoint()
        while not self._messages:
            self._bell = _Bell()
            if not self._messages:  # a message may have rung the old bell meanwhile
                await self._bell.wait()
        return self._messages.popleft()


def call_soon() -> Callable[[Callable[[], None]], object]:
    """How to have a function called soon in the running event loop, from any thread."""
    token: Any = current_token().native_token  # trio's token or asyncio's loop
    soon = token.run_sync_soon if hasattr(token, "run_sync_soon") else token.call_soon_threadsafe
    return cast("Callable[[Callable[[], None]], object]", soon)
