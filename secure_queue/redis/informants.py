"""Servers that are asked, all at once, who is primary: sentinels, or the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from secure_queue.background import beside
from secure_queue.errors import ConfigurationError
from secure_queue.redis.dialing import pool_for
from secure_queue.redis.retrying import (
    Fault,
    classify,
    is_refused_connection,
    is_server_fault,
    root_cause,
    translate,
)
from secure_queue.redis.topology import Standalone

T = TypeVar("T")
Address: TypeAlias = tuple[str, int]

ANSWER_S = 1.0
"""One that hangs must not keep the others from being heard (HA.md, facts 5 and 6)."""

LONGEST_REASON = 100


class Informant:
    """One server; *ask* sends one command to it and waits *answer_s* seconds for the reply."""

    def __init__(self, server: Standalone, answer_s: float = ANSWER_S) -> None:
        self.server = server
        self._answer_s = answer_s
        self._opening: _Opening | None = None
        self.pool = pool_for(server, 1)

    async def connected(self, group: TaskGroup) -> None:
        """Return when there is a connection; raises what stands in its way.

        One that has to be opened is opened in *group*, and goes on being opened when the caller gives up: a handshake that
        takes longer than the caller waits, with TLS on a busy machine say, would else begin anew each time, and never end.
        """
        if (connection := self.pool.lease_nowait()) is not None:
            self.pool.release(connection)
            self._opening = None
            return
        if self._opening is None:
            self._opening = _Opening()
            group.start_soon(self._open, self._opening)
        opening = self._opening
        await opening.over.wait()
        self._opening = None
        if opening.problem is not None:
            raise opening.problem

    async def _open(self, opening: _Opening) -> None:
        with opening.scope:
            try:
                self.pool.release(await self.pool.get_connection())
            except Exception as error:  # for who waits, or will
                opening.problem = error
        opening.over.set()

    def leave(self) -> None:
        """Close the connection, also one that is being opened."""
        if self._opening is not None:
            self._opening.scope.cancel()
        self.pool.disconnect()

    async def ask(self, *parts: bytes | str) -> Any:
        """The reply to a command that only reads."""
        connection = self.pool.lease_nowait() or await self.pool.get_connection()
        try:
            request = connection.create_request(_bytes(parts[0]), *parts[1:], decode=False, timeout=self._answer_s)
        finally:
            self.pool.release(connection)
        try:
            return await request
        except TimeoutError:
            connection.invalidate()
            raise


class _Opening:
    """A connection that is being opened, and what became of it."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.over = anyio.Event()
        self.problem: Exception | None = None


class Heard(NamedTuple, Generic[T]):
    """What a group says: the *answers*, and how many of the others *refused* the connection because they are down."""

    answers: list[T]
    refused: int


class Informants(Generic[T]):
    """A group of servers, each of which answers the same question with a ``T``."""

    def __init__(self, servers: Sequence[Standalone], question: Callable[[Informant], Awaitable[T]]) -> None:
        self._question = question
        self._named = {(server.host, server.port): server for server in servers}
        self._open = {address: Informant(server) for address, server in self._named.items()}
        self._stack = AsyncExitStack()
        self.problem = ""
        """Why one of them did not answer the last time."""

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(beside())
        for informant in self._open.values():
            informant.pool.live_in(self._group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __len__(self) -> int:
        return len(self._open)

    def ask_only(self, *servers: Standalone) -> None:
        """From now on ask those that were named at the beginning, and *servers*.

        One that has left the group is not heard any more: it may be away for good, or speak for another group by now.
        """
        wanted = self._named | {(server.host, server.port): server for server in servers}
        for address in self._open.keys() - wanted.keys():
            self._open.pop(address).leave()
        for address in wanted.keys() - self._open.keys():
            informant = self._open[address] = Informant(wanted[address])
            informant.pool.live_in(self._group)

    def because(self) -> str:
        """The reason to add to a message when too few have answered."""
        return f" ({self.problem[:LONGEST_REASON]}); check addresses and TLS" if self.problem else ""

    async def hear(self) -> Heard[T]:
        """What those say that answer within a second; raises ``ConfigurationError`` if any refuses us for good."""
        self.problem = ""
        heard: list[T] = []
        faults: list[tuple[Standalone, Exception]] = []

        async def ask(informant: Informant) -> None:
            try:
                with anyio.fail_after(ANSWER_S):
                    await informant.connected(self._group)
                    heard.append(await self._question(informant))
            except Exception as error:
                if not (isinstance(error, ConfigurationError) or is_server_fault(error)):
                    raise
                faults.append((informant.server, error))
                self.problem = f"{informant.server}: {root_cause(error)}"

        async with anyio.create_task_group() as group:
            for informant in list(self._open.values()):
                group.start_soon(ask, informant)
        refusals = [_for_good(error, server) for server, error in faults if classify(error) is Fault.FATAL]
        if refusals and not heard:
            raise refusals[0]
        return Heard(heard, sum(is_refused_connection(error) for _, error in faults))


def _for_good(error: Exception, server: Standalone) -> ConfigurationError:
    problem = error if isinstance(error, ConfigurationError) else translate(error, str(server))
    return problem if isinstance(problem, ConfigurationError) else ConfigurationError(str(problem))


def _bytes(part: bytes | str) -> bytes:
    return part if isinstance(part, bytes) else part.encode()
