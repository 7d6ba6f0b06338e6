"""Waits for results: they are pushed to this client, and read once to know what is there already.

The push is a subscription that may be lost at any time, so nothing depends on it alone: after every subscription, and
every few seconds while somebody waits, the results are read again. What comes in is untrusted bytes.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from secure_queue.coalesce import Coalescer
from secure_queue.errors import SecureQueueError, Unavailable
from secure_queue.storage import Storage

NEWS = b"\1"
"""Stands behind an id when a task has said something that is not its result."""
LOOK_AGAIN_S = 5.0
RESUBSCRIBE_S = 1.0
SUBSCRIBE_S = 1.0

_log = logging.getLogger("secure_queue.client")


class Inbox:
    """The results that one client waits for."""

    def __init__(self, storage: Storage, client: str) -> None:
        self._storage = storage
        self._client = client
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._subscribed = anyio.Event()
        self._wanted = anyio.Event()
        self._closed = False
        self.looks: Coalescer[bytes, bytes | object | None] = Coalescer(self._look, limit=200)

    async def _look(self, task_ids: list[bytes]) -> list[bytes | object | None]:
        return await self._storage.watch(self._client, task_ids)

    async def wait(self, task_id: bytes, accept: Callable[[bytes], bool]) -> bytes | object:
        """The sealed result of a task as soon as there is one that *accept* takes; ``UNKNOWN`` if nothing is stored.

        A pushed result that *accept* refuses is passed over; one that is read is returned as it is.
        """
        self._wanted.set()
        with anyio.move_on_after(SUBSCRIBE_S):  # without it the result is found by looking
            await self._subscribed.wait()
        waiter = Waiter(accept)
        self._waiters.setdefault(task_id, []).append(waiter)
        try:
            return await self._first_of(task_id, waiter)
        finally:
            self._remove(task_id, waiter)

    async def _first_of(self, task_id: bytes, waiter: Waiter) -> bytes | object:
        while True:
            if self._closed:
                raise Unavailable("the client was closed before the result arrived; ask again with an open one")
            found = await self._look_once(task_id)
            if found is not None:
                return found
            await waiter.news()
            if waiter.sealed is not None:
                return waiter.sealed

    async def _look_once(self, task_id: bytes) -> bytes | object | None:
        """A look for the result; a server that is away does not end the waiting, the caller's own timeout does."""
        try:
            return await self.looks.ask(task_id)
        except Unavailable:
            if self._closed:
                raise
            return None

    @contextmanager
    def attending(self, task_id: bytes, accept: Callable[[bytes], bool]) -> Iterator[Waiter]:
        """Be told of whatever happens to a task; its result is kept by the waiter if *accept* takes it."""
        self._wanted.set()
        waiter, names = Waiter(accept), (task_id, task_id + NEWS)
        for name in names:
            self._waiters.setdefault(name, []).append(waiter)
        try:
            yield waiter
        finally:
            for name in names:
                self._remove(name, waiter)

    async def look(self, task_id: bytes) -> bytes | object | None:
        """The result if it is there, ``UNKNOWN`` if nothing is stored; None says that whoever attends is told later."""
        if self._closed:
            raise Unavailable("the client was closed before the task has ended; ask again with an open one")
        return await self._look_once(task_id)

    def _remove(self, task_id: bytes, waiter: Waiter) -> None:
        waiters = self._waiters[task_id]
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[task_id]

    def close(self) -> None:
        """End all waiting with ``Unavailable``."""
        self._closed = True
        self._look_again()

    async def run(self) -> None:
        """Keep the subscription, once anybody waits; belongs into the task group of the client."""
        await self._wanted.wait()
        while True:
            try:
                await self._listen()
            except SecureQueueError as error:
                _log.warning("results are looked up only, not pushed: %s", error)
                await anyio.sleep(RESUBSCRIBE_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load

    async def _listen(self) -> None:
        async with self._storage.listen(self._client) as messages:
            self._subscribed.set()
            self._look_again()
            async for task_id, sealed in messages:
                for waiter in self._waiters.get(task_id, ()):
                    waiter.tell(sealed)

    def _look_again(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.told.set()


class Waiter:
    """Somebody who waits for a result."""

    __slots__ = ("_accept", "sealed", "told")

    def __init__(self, accept: Callable[[bytes], bool]) -> None:
        self._accept = accept
        self.sealed: bytes | None = None
        self.told = anyio.Event()

    async def news(self) -> None:
        """Wait until there is something new, or it is time to look."""
        with anyio.move_on_after(LOOK_AGAIN_S * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads load
            await self.told.wait()
        self.told = anyio.Event()

    def tell(self, untrusted: bytes) -> None:
        """Note that there is something new, and the result if that is it."""
        if self.sealed is None and self._accept(untrusted):
            self.sealed = untrusted
        self.told.set()
