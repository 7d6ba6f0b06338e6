"""Links that can be broken on purpose, to memory and to real servers, and that tell what was enqueued over them."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from secure_queue.durability import Assurance, Durability
from secure_queue.errors import Unavailable
from secure_queue.redis.coredis_link import CoredisLink
from secure_queue.redis.link import Argument, Reply, Woken
from secure_queue.redis.memory import MemoryLink, MemoryServer, call_soon
from secure_queue.redis.retrying import is_server_fault, pause, repeat
from secure_queue.redis.scripts import Script
from secure_queue.testing.enqueued import Log
from secure_queue.testing.faults import Call, Faults

T = TypeVar("T")

_BROKEN = "a fault that the test wants: the connection broke"


class _Breakable:
    """What both links have in common: their faults, and the event loop that they live in."""

    def __init__(self, faults: Faults, log: Log) -> None:
        self._faults = faults
        self._log = log
        self._soon = call_soon()
        self._thread = threading.get_ident()
        faults.watch(self)

    @abstractmethod
    def drop(self) -> None:
        """Break every connection."""

    @abstractmethod
    async def begin(self, call: Call) -> None:
        """Do of *call* what comes before its connection is cut."""

    @abstractmethod
    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run *script*, over and over as long as there are faults."""

    async def run_assured(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        """Run *script*; every copy that is wanted is taken to have it: a server for tests has no replicas."""
        return await self.run(script, keys, args, deadline), assurance.level

    def from_elsewhere(self, function: Callable[[], None]) -> None:
        """Have *function* called in the event loop of this link."""
        if threading.get_ident() == self._thread:
            function()
        else:
            self._soon(function)

    async def _noting(self, name: str, args: Sequence[Argument], call: Callable[[], Awaitable[T]]) -> T:
        """*call*, with a note of what it has enqueued."""
        reply = await call()
        await self._log.note(name, args, cast("Reply", reply))
        return reply


class BreakableMemoryLink(_Breakable, MemoryLink):
    """A ``MemoryLink`` whose calls go through the same loop of repetitions as those of a real server."""

    in_trouble = False

    def __init__(self, server: MemoryServer, *, faults: Faults, log: Log) -> None:
        MemoryLink.__init__(self, server)
        _Breakable.__init__(self, faults, log)
        self._under_way: set[anyio.CancelScope] = set()
        self._failed_waits = 0

    def drop(self) -> None:
        """End all waiting, as if its connection had broken."""
        for scope in list(self._under_way):
            scope.cancel()

    async def begin(self, call: Call) -> None:
        """Nothing: half a request has no effect."""
        await checkpoint()
        self.drop()

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run *script*, over and over as long as there are faults."""

        async def plain() -> Reply:
            return await MemoryLink.run(self, script, keys, args, deadline)

        async def call() -> Reply:
            return await self._noting(script.name, args, plain)

        return await self._repeat(script.name, call, deadline)

    async def command(self, *parts: Argument) -> Reply:
        """Send one command, over and over as long as there are faults."""
        plain = super().command
        return await self._repeat(_name_of(parts), lambda: plain(*parts), self._faults.patience)

    async def run_when_woken(
        self, key: bytes, timeout: float, script: Script, keys: Sequence[bytes], args: Sequence[Argument]
    ) -> Woken | None:
        """Wait and run *script*; trouble is told by None, after a pause."""
        plain = super().run_when_woken

        async def call() -> Woken | None:
            return await self._until_it_breaks(lambda: plain(key, timeout, script, keys, args))

        try:
            reply = await self._faults.around(script.name, call, self, monotonic() + timeout)
        except Exception as error:
            if not is_server_fault(error):
                raise
            self._failed_waits += 1
            self.in_trouble = True
            await anyio.sleep(pause(self._failed_waits, 1.0))
            return None
        self._failed_waits, self.in_trouble = 0, False
        return reply

    @asynccontextmanager
    async def listen(self, channel: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Receive what is published on *channel* until the connection breaks."""
        await self._repeat("subscribe", checkpoint, self._faults.patience)
        async with super().listen(channel) as messages:
            yield self._unbroken(messages)

    async def _unbroken(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            try:
                message = await self._until_it_breaks(lambda: anext(messages))
            except ConnectionResetError as error:
                raise Unavailable("the subscription in memory is lost") from error
            yield message

    async def _until_it_breaks(self, call: Callable[[], Awaitable[T]]) -> T:
        with anyio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                return await call()
            finally:
                self._under_way.discard(scope)
        raise ConnectionResetError(_BROKEN)

    async def _repeat(self, verb: str, call: Callable[[], Awaitable[T]], deadline: float) -> T:
        async def attempt(end: float) -> T:
            return await self._faults.around(verb, call, self, end)

        answer = await repeat(
            attempt, deadline=min(deadline, self._faults.patience), server="the memory server", on_fault=self._on_fault
        )
        self.in_trouble = False
        return answer

    def _on_fault(self, error: Exception) -> None:
        self.in_trouble = True


_call: ContextVar[tuple[str, Sequence[Argument]]] = ContextVar("secure_queue_call_under_test")
"""Which call of the link an attempt belongs to."""


class BreakableServerLink(_Breakable, CoredisLink):
    """A ``CoredisLink`` whose attempts meet faults: on every topology, and below the loop that repeats them."""

    def __init__(self, *pools: Any, faults: Faults, log: Log, **options: Any) -> None:
        CoredisLink.__init__(self, *pools, **options)
        _Breakable.__init__(self, faults, log)

    def drop(self) -> None:
        """Close every connection; what is under way on them fails."""
        self._shared.disconnect()
        self._dedicated.disconnect()

    async def begin(self, call: Call) -> None:
        """Send the request and close the connection before its reply is read."""
        async with anyio.create_task_group() as group:
            group.start_soon(_swallowed, call)
            await checkpoint()
            self.drop()

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run *script* by its hash."""
        token = _call.set((script.name, args))
        try:
            return await CoredisLink.run(self, script, keys, args, deadline)
        finally:
            _call.reset(token)

    async def command(self, *parts: Argument) -> Reply:
        """Send one command."""
        token = _call.set((_name_of(parts), ()))
        try:
            return await super().command(*parts)
        finally:
            _call.reset(token)

    async def _repeat(self, attempt: Callable[[float], Awaitable[T]], deadline: float) -> T:
        name, args = _call.get(("subscribe", ()))

        async def breakable(end: float) -> T:
            return await self._faults.around(name, lambda: self._noting(name, args, lambda: attempt(end)), self, end)

        return await super()._repeat(breakable, min(deadline, self._faults.patience))

    async def _block_and_run(self, key: bytes, seconds: float, parts: Sequence[Argument]) -> Woken:
        plain = super()._block_and_run
        end = monotonic() + seconds
        return await self._faults.around("claim", lambda: plain(key, seconds, parts), self, end)


async def _swallowed(call: Call) -> None:
    try:
        await call()
    except Exception:  # its connection was closed, or it was faster: nobody shall know
        return


def _name_of(parts: Sequence[Argument]) -> str:
    name = parts[0]
    return (name.decode() if isinstance(name, bytes) else str(name)).lower()
