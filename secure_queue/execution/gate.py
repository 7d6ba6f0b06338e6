"""The way to the limits that one partition keeps: what tasks ask of them, and what is given back, in batches."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import anyio

from secure_queue.coalesce import Coalescer
from secure_queue.errors import SecureQueueError
from secure_queue.limiting import Ask, Booking, Holder, Place, Taking
from secure_queue.storage import Claim, Storage

BATCH: Final = 200

_log = logging.getLogger("secure_queue.worker")


class Gate:
    """One partition.

    *taking* says, of as many seats as are left, how many tasks are taken for them, and *take_in* takes these. *hurry*
    brings the tasks of promised permits in other partitions, and says which of them are not stored any more.
    """

    def __init__(
        self,
        storage: Storage,
        lease_ms: int,
        hurry: Callable[[Sequence[Holder]], Awaitable[Sequence[Holder]]],
        taking: Callable[[int], Taking],
        take_in: Callable[[Sequence[Claim]], None],
    ) -> None:
        self._storage = storage
        self._hurry = hurry
        self._taking = taking
        self._take_in = take_in
        self.permits: Coalescer[Ask, Place] = Coalescer(partial(storage.admit, lease_ms), BATCH)
        self.starts: Coalescer[Booking, int] = Coalescer(storage.book, BATCH)
        self._left: list[Holder] = []
        self._called: list[Holder] = []
        self._under_way = False
        self._filled = anyio.Event()
        self._one_at_a_time = anyio.Lock()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is on its way back, and nobody has to be called."""
        return not (self._left or self._called or self._under_way)

    def leave(self, holders: Sequence[Holder]) -> None:
        """Give permits back; whose turn it is then is told."""
        self._left += holders
        self._filled.set()

    def call(self, digest: bytes, most: int, names: Sequence[bytes]) -> None:
        """Tell somebody that it is their turn."""
        self._called += [Holder(digest, name, most) for name in names]
        self._filled.set()

    async def run(self) -> None:
        """Keep everything moving, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.permits.run)
            group.start_soon(self.starts.run)
            while True:
                await self._filled.wait()
                self._filled = anyio.Event()
                await self.drain()

    async def until_told(self) -> None:
        """Wait for the answer of what is on its way."""
        async with self._one_at_a_time:
            return

    async def drain(self) -> None:
        """Give back what is there to be given back."""
        async with self._one_at_a_time:
            while self._left or self._called:
                self._under_way = True
                try:
                    await self._step()
                except SecureQueueError as error:
                    # Permits run out with their leases, and who waits looks by itself.
                    _log.warning("permits could not be given back now: %s", error)
                finally:
                    self._under_way = False

    async def _step(self) -> None:
        called, self._called = self._called[:BATCH], self._called[BATCH:]
        gone = await self._hurry(called) if called else ()
        self._left += gone
        left, self._left = self._left[:BATCH], self._left[BATCH:]
        if left:
            passed = await self._storage.leave(left, self._taking(len(left)))
            self._take_in(passed.claims)
            for (digest, _, most), names in zip(left, passed.elsewhere, strict=True):
                self._called += [Holder(digest, name, most) for name in names]
