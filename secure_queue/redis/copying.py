"""Runs a script and waits, in the same breath, until enough copies of what it wrote exist.

``WAIT`` (``WAITAOF`` for the disk) goes out right behind the script, on the same connection: there it counts what this
very connection wrote. It blocks its connection on the server, so each such call has one of its own. A count alone proves
nothing: replicas go on confirming what a replaced primary writes (HA.md, section 1), so who answers must be known to be the
primary.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeAlias, cast

import anyio
from coredis.connection import BaseConnection
from coredis.exceptions import NoScriptError, RedisError, ResponseError, UnknownCommandError

from secure_queue.durability import Assurance, Confirmation, Copies, Durability, Shortage
from secure_queue.errors import ConfigurationError
from secure_queue.redis.dialing import REPLY_TIMEOUT
from secure_queue.redis.following import Follower
from secure_queue.redis.link import Argument, NotConfirmed, Reply
from secure_queue.redis.pools import SafePool
from secure_queue.redis.scripts import Script

Command: TypeAlias = tuple[Any, ...]

SLACK_S = 0.2  # the last attempt ends with the number of copies, if the server is there to tell it

_log = logging.getLogger("secure_queue.redis")


class Copying:
    """Makes single attempts over *pool*; the link repeats them."""

    def __init__(self, pool: SafePool[Any], server: str, follower: Follower | None) -> None:
        self._pool = pool
        self._server = server
        self._follower = follower
        self._shortages = {level: Shortage() for level in Durability}
        self._can_sync = False

    async def attempt(
        self, script: Script, parts: Sequence[Argument], assurance: Assurance, end: float
    ) -> tuple[Reply, Durability]:
        """The reply and the level that holds; raises ``NotConfirmed`` if that is less than is wanted."""
        shortage = self._shortages[assurance.level]
        needed = assurance.needed(self._follower.most_replicas if self._follower is not None else 0)
        now = monotonic()
        left_s = max(end - now, 0.0)
        patience_s = min(shortage.patience_s(assurance, now), left_s + SLACK_S / 2)
        async with self._pool.alone(end) as connection:
            with anyio.fail_after(left_s + SLACK_S):
                await self._check(connection, assurance)
                reply, copies = await _run_and_wait(connection, script, parts, assurance.level, needed, patience_s)
        if not assurance.believes(self._confirmation(connection)):
            raise NotConfirmed("it is not known to be the primary now")
        return reply, self._level(assurance, shortage, copies, needed)

    def _confirmation(self, connection: BaseConnection) -> Confirmation:
        if self._follower is None:
            return Confirmation.FRESH  # one server, and nobody to ask
        return self._follower.confirmation(connection.location)

    def _level(self, assurance: Assurance, shortage: Shortage, copies: Copies, needed: int) -> Durability:
        """What holds now; says once in the log when it begins and when it ceases to be less than is wanted."""
        now, enough = monotonic(), copies.enough(needed)
        shortage.note(enough, now)
        if not enough and not shortage.lasts(assurance, now):
            raise NotConfirmed(f"{copies.replicas} of {needed} replicas have confirmed{_disk(copies)}")
        if shortage.told == enough:
            shortage.told = not enough
            if enough:
                _log.warning("%s: durability %r is kept again", self._server, assurance.level.value)
            else:
                _log.warning(
                    "%s: durability %r cannot be kept for %g s now (%d of %d replicas have confirmed%s); "
                    "tasks are acknowledged at 'primary' until it can",
                    *(self._server, assurance.level.value, assurance.degrade_after_s),
                    *(copies.replicas, needed, _disk(copies)),
                )
        return assurance.level if enough else Durability.PRIMARY

    async def _check(self, connection: BaseConnection, assurance: Assurance) -> None:
        """Find out, before anything is written, whether the server can say what its disk has."""
        if self._can_sync or assurance.level is not Durability.FSYNC:
            return
        try:
            await connection.create_request(b"WAITAOF", 1, 0, 1, decode=False)
        except UnknownCommandError as error:
            raise ConfigurationError(
                f"{self._server} has no WAITAOF, which durability='fsync' needs; use Redis 7.2 or later, or Valkey"
            ) from error
        except ResponseError as error:
            if "appendonly" not in str(error):
                raise
            raise ConfigurationError(
                f"{self._server} keeps no append-only file, which durability='fsync' needs; set appendonly yes there"
            ) from error
        self._can_sync = True


async def _run_and_wait(
    connection: BaseConnection,
    script: Script,
    parts: Sequence[Argument],
    level: Durability,
    needed: int,
    patience_s: float,
) -> tuple[Reply, Copies]:
    wait = _wait(level, needed, patience_s)
    try:
        reply, confirmed = await _pair(connection, parts, wait, patience_s)
    except NoScriptError:
        await connection.create_request(b"SCRIPT LOAD", script.source, decode=False)
        reply, confirmed = await _pair(connection, parts, wait, patience_s)
    match confirmed:
        case None:
            return reply, Copies(0)
        case [local, replicas]:
            return reply, Copies(replicas, on_disk=bool(local))
        case _:
            return reply, Copies(confirmed)


async def _pair(
    connection: BaseConnection, parts: Sequence[Argument], wait: Command | None, patience_s: float
) -> tuple[Reply, Any]:
    """The replies to the script and to the command behind it, which went out together."""
    limit = patience_s + REPLY_TIMEOUT / 2
    script = connection.create_request(b"EVALSHA", *parts, decode=False, timeout=max(limit, REPLY_TIMEOUT))
    waiting = connection.create_request(*wait, decode=False, timeout=limit) if wait is not None else None
    try:
        reply = cast(Reply, await script)
    except RedisError:
        if waiting is not None:
            with suppress(RedisError):
                await waiting  # its answer comes too, and must not be taken for that of the next request
        raise
    return reply, None if waiting is None else await waiting


def _wait(level: Durability, needed: int, patience_s: float) -> Command | None:
    """The command that waits; None where waiting is not worth it now."""
    if patience_s == 0:
        return None
    patience_ms = round(patience_s * 1000)
    if level is Durability.FSYNC:
        return b"WAITAOF", 1, needed, patience_ms
    return b"WAIT", needed, patience_ms


def _disk(copies: Copies) -> str:
    return "" if copies.on_disk else ", and the server's own disk has not"
