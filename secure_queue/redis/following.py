"""Keeps the pools of one link at the server that is primary now.

All keys of a queue's partition lie in one slot, so at any moment one server is enough, in Sentinel and in Cluster alike.
Following it is a loop: ask who it is, and if it has changed, drop every connection to the old one, which may go on
answering for ten seconds and whose answers are worth nothing (HA.md, section 1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Any, NamedTuple, Protocol

import anyio
from coredis.connection import Location, TCPLocation
from coredis.exceptions import PrimaryNotFoundError

from secure_queue.durability import Confirmation
from secure_queue.errors import ConfigurationError
from secure_queue.redis.pools import SafePool
from secure_queue.redis.topology import Standalone

INTERVAL_S = 0.5
AGAIN_S = 0.1
"""The shortest time between two looks: many calls may fail at once, and one look is enough for all."""
FIRST_LOOK_S = 2.0
BELIEVED_S = 5.0
"""How long a primary is believed after a majority has named it: a failover that this process cannot see takes longer."""

_log = logging.getLogger("secure_queue.redis")


class Found(NamedTuple):
    """What a look has found."""

    primary: Standalone
    replicas: int
    """How many replicas it has, as far as those know who were asked."""
    is_confirmed: bool = True
    """Whether a majority stands behind it."""


class Unwatched(PrimaryNotFoundError):
    """All who could say who is primary refuse connections: they are down, and not on the other side of a partition."""


class Locator(AbstractAsyncContextManager["Locator"], Protocol):
    """Knows how to find the primary while it is entered."""

    async def locate(self) -> Found:
        """The primary now; raises ``PrimaryNotFoundError`` for the moment and ``ConfigurationError`` for good."""
        ...


class Follower:
    """Moves *pools* after the primary; ``run`` is its loop."""

    def __init__(self, locator: Locator, name: str) -> None:
        self._locator = locator
        self._name = name
        self._pools: list[SafePool[Any]] = []
        self._looked = anyio.Event()
        self._wanted = anyio.Event()
        self._doubt: Exception | None = None
        self._confirmed_at = float("-inf")
        self.primary: Standalone | None = None
        self.most_replicas = 0
        """The largest number of replicas that was ever told; one that is down is still one that is wanted."""
        self.when_moved: Callable[[], None] = lambda: None
        """Called when another server has become primary."""

    def lead(self, pool: SafePool[Any]) -> None:
        """From now on *pool* goes where the primary is; it opens no connection before it is known."""
        self._pools.append(pool)
        pool.before_opening = self.known

    def confirmation(self, location: Location) -> Confirmation:
        """What is known now about the server at *location*."""
        if self.primary is None or location != _location(self.primary):
            return Confirmation.STALE
        if monotonic() - self._confirmed_at <= BELIEVED_S:
            return Confirmation.FRESH
        return Confirmation.UNWATCHED if isinstance(self._doubt, Unwatched) else Confirmation.STALE

    def look_soon(self) -> None:
        """Something went wrong: look before it is time."""
        self._wanted.set()

    async def known(self) -> None:
        """Return when the primary is known; raises ``ConfigurationError``, or ``PrimaryNotFoundError`` for the moment."""
        if self.primary is None:
            with anyio.move_on_after(FIRST_LOOK_S):
                await self._looked.wait()
        if self.primary is None:
            self.look_soon()
            raise self._doubt or PrimaryNotFoundError("nobody has said yet who is primary")

    async def run(self) -> None:
        """Follow, for ever."""
        async with self._locator:  # in this very task, because it opens further connections while it runs
            while True:
                self._wanted = anyio.Event()
                await self._look()
                self._looked.set()
                await anyio.sleep(AGAIN_S)
                with anyio.move_on_after(INTERVAL_S - AGAIN_S):
                    await self._wanted.wait()

    async def _look(self) -> None:
        asked_at = monotonic()
        try:
            found = await self._locator.locate()
        except (ConfigurationError, PrimaryNotFoundError) as error:
            if self.primary is not None and str(error) != str(self._doubt):
                _log.warning("%s: who is primary cannot be confirmed now: %s", self._name, error)
            self._doubt = error
            return
        self._doubt = None
        self.most_replicas = max(self.most_replicas, found.replicas)
        if found.is_confirmed:
            self._confirmed_at = asked_at
        if found.primary != self.primary:
            self._move_to(found.primary)

    def _move_to(self, found: Standalone) -> None:
        before, self.primary = self.primary, found
        for pool in self._pools:
            pool.location = _location(found)
            pool.disconnect()
        if before is not None:
            _log.warning("%s: the primary is now %s, it was %s", self._name, found, before)
            self.when_moved()


def _location(server: Standalone) -> TCPLocation:
    return TCPLocation(server.host, server.port)
