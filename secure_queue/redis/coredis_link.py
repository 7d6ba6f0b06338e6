"""The link over coredis: scripts and commands share few connections, blocking calls and subscriptions have their own.

A request is put on a leased connection and the lease ends before the reply: coredis pipelines, so any number of callers
share one socket. Going to the connection directly instead of through the client's ``evalsha`` costs a fifth less for a
tiny script and a third less for one with 700 keys and arguments (measured with coredis 6.9).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import Any, TypeAlias, TypeVar, cast

import anyio
from anyio import fail_after, move_on_after
from coredis.connection import BaseConnection
from coredis.exceptions import ConnectionError, MovedError, NoScriptError, RedisError

from secure_queue.durability import Assurance, Durability
from secure_queue.errors import ConfigurationError, Unavailable
from secure_queue.redis.copying import Copying
from secure_queue.redis.dialing import REPLY_TIMEOUT
from secure_queue.redis.following import Follower
from secure_queue.redis.history import History
from secure_queue.redis.link import Argument, Reply, Woken
from secure_queue.redis.pools import SafePool
from secure_queue.redis.retrying import is_server_fault, pause, repeat
from secure_queue.redis.scripts import Script

Pool: TypeAlias = SafePool[Any]
T = TypeVar("T")

BLOCK = 2.0  # longest server-side block: a hung server cannot end it, so it stays below REPLY_TIMEOUT (fact 9)
QUIET = 10.0  # a silent subscription is checked with PING after so many seconds


class CoredisLink:
    """Implements ``Link`` over two open pools: *shared* for requests, *dedicated* for blocking calls and listeners."""

    def __init__(
        self,
        shared: Pool,
        dedicated: Pool,
        *,
        server: str,
        deadline: float,
        history: History,
        follower: Follower | None = None,
    ) -> None:
        self._shared = shared
        self._dedicated = dedicated
        self._server = server
        self._deadline = deadline
        self._follower = follower
        self._failed_waits = 0
        self._copying = Copying(dedicated, server, follower)
        self.on_new_history = history.on_change
        self.in_trouble = False

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        """Run *script* by its hash; a server that does not know it (restart, failover, flush) is given it first."""
        parts = (script.sha, len(keys), *keys, *args)

        async def attempt(end: float) -> Reply:
            try:
                return await self._request(b"EVALSHA", parts, end)
            except NoScriptError:
                await self._request(b"SCRIPT LOAD", (script.source,), end)
                return await self._request(b"EVALSHA", parts, end)

        return await self._repeat(attempt, deadline)

    async def run_assured(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        """Run *script* and wait for its copies; what is not confirmed in one attempt is done again."""
        if assurance.level is Durability.PRIMARY:
            return await self.run(script, keys, args, deadline), Durability.PRIMARY
        parts = (script.sha, len(keys), *keys, *args)
        return await self._repeat(lambda end: self._copying.attempt(script, parts, assurance, end), deadline)

    async def _repeat(self, attempt: Callable[[float], Awaitable[T]], deadline: float) -> T:
        answer = await repeat(attempt, deadline=deadline, server=self._server, on_fault=self._on_fault)
        self.in_trouble = False
        return answer

    def _on_fault(self, error: Exception) -> None:
        self._note_trouble()
        if self._follower is None and isinstance(error, MovedError):
            raise ConfigurationError(
                f"{self._server} is a node of a cluster, and others have some of its slots; use a redis+cluster:// URL"
            ) from error

    def _note_trouble(self) -> None:
        self.in_trouble = True
        if self._follower is not None:
            self._follower.look_soon()

    async def command(self, *parts: Argument) -> Reply:
        """Send one command; maps, sets, doubles and booleans of RESP3 come back as RESP2 would spell them."""
        name, rest = _encoded(parts[0]), parts[1:]
        reply = await self._repeat(lambda end: self._request(name, rest, end), self._deadline)
        return as_resp2(reply)

    async def run_when_woken(
        self, key: bytes, timeout: float, script: Script, keys: Sequence[bytes], args: Sequence[Argument]
    ) -> Woken | None:
        """Send the blocking command and the script behind it on one connection: the server runs one after the other."""
        try:
            return await self._block_and_run(key, min(timeout, BLOCK), (script.sha, len(keys), *keys, *args))
        except NoScriptError:
            return None
        except Exception as error:
            if not is_server_fault(error):
                raise
            self._failed_waits += 1
            self._note_trouble()
            await anyio.sleep(pause(self._failed_waits, 1.0))
            return None

    async def _block_and_run(self, key: bytes, seconds: float, parts: Sequence[Argument]) -> Woken:
        limit, popped = seconds + REPLY_TIMEOUT - BLOCK, None
        async with self._dedicated.alone(monotonic() + REPLY_TIMEOUT) as connection:
            wait = connection.create_request(
                b"BZPOPMIN", key, f"{max(seconds, 0.001):.3f}", decode=False, timeout=limit
            )
            request = connection.create_request(b"EVALSHA", *parts, decode=False, timeout=limit + REPLY_TIMEOUT)
            with suppress(RedisError):
                popped = await wait  # whatever became of it, the script behind it has run
            reply = cast(Reply, await request)
        self._failed_waits = 0
        self.in_trouble = False
        return Woken(_marker(popped), reply)

    @asynccontextmanager
    async def listen(self, channel: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Subscribe on a connection of its own, given back when the body ends; its loss never cancels the body."""
        connection = await self._repeat(lambda end: self._subscribe(channel, end), self._deadline)
        try:
            yield _Subscription(connection, self._server)
        finally:
            connection.invalidate()
            self._dedicated.release(connection)

    async def _request(self, command: bytes, parts: Sequence[Argument], end: float) -> Reply:
        connection = self._shared.lease_nowait() or await self._shared.lease(end)
        limit = _limit(end)
        try:
            request = connection.create_request(command, *parts, decode=False, timeout=limit)
        finally:
            self._shared.release(connection)
        try:
            return cast(Reply, await request)
        except TimeoutError:
            connection.invalidate()  # fact 4: coredis would use it again, and it may be hung for good
            raise

    async def _subscribe(self, channel: bytes, end: float) -> BaseConnection:
        connection: BaseConnection = await self._dedicated.lease(end)
        confirmed = False
        try:
            connection.send_command(b"SUBSCRIBE", channel)
            # Replies come in order, and coredis ties SUBSCRIBE to no request: its refusal arrives as the reply to PING.
            await connection.create_request(b"PING", decode=False, timeout=_limit(end))
            with fail_after(_limit(end)):
                await _next_push(connection)
            confirmed = True
        finally:
            if not confirmed:
                connection.invalidate()
                self._dedicated.release(connection)
        return connection


class _Subscription:
    """Iterates over the messages of one confirmed subscription."""

    def __init__(self, connection: BaseConnection, server: str) -> None:
        self._connection = connection
        self._server = server

    def __aiter__(self) -> _Subscription:
        return self

    async def __anext__(self) -> bytes:
        try:
            while True:
                match await self._push():
                    case [b"message", _, bytes() as message]:
                        return message
        except (ConnectionError, TimeoutError, OSError) as error:
            raise Unavailable(f"the subscription at {self._server} is lost") from error

    async def _push(self) -> object:
        with move_on_after(QUIET):
            return await _next_push(self._connection)
        await self._connection.create_request(b"PING", decode=False, timeout=REPLY_TIMEOUT)
        return None


async def _next_push(connection: BaseConnection) -> object:
    async with aclosing(connection.push_messages) as messages:
        return await anext(messages)


def _marker(popped: object) -> bytes | None:
    """The member that BZPOPMIN has taken out of its key."""
    match popped:
        case [_, bytes() as marker, _]:
            return marker
    return None


def _limit(end: float) -> float:
    return min(REPLY_TIMEOUT, max(end - monotonic(), 0.001))


def _encoded(part: Argument) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def as_resp2(reply: object) -> Reply:
    """*reply* with the types that only RESP3 has spelled as RESP2 spells them."""
    match reply:
        case dict():
            return [as_resp2(item) for pair in reply.items() for item in pair]
        case [[_, float()], *_]:  # WITHSCORES: pairs there, one flat list here
            return [as_resp2(item) for pair in cast("list[list[object]]", reply) for item in pair]
        case list() | tuple() | set() | frozenset():
            return [as_resp2(item) for item in reply]
        case bool():
            return int(reply)
        case float():
            return b"%.17g" % reply
        case _:
            return cast(Reply, reply)
