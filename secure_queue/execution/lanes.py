"""The partitions that a worker serves: a lane for each, so that a server which is away holds up no other.

Every half second the worker asks the register how many partitions there are and who else works on them. New ones are
served from then on, and which worker waits at which of them follows from the names of all workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup

from secure_queue.clock import monotonic
from secure_queue.durability import Assurance
from secure_queue.errors import SecureQueueError
from secure_queue.execution.appetite import Appetite
from secure_queue.execution.fetcher import LAST_CLAIM_S, Fetcher
from secure_queue.execution.heartbeat import Heartbeat
from secure_queue.execution.journal import Journal
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.relay import Relay
from secure_queue.execution.runs import Desk
from secure_queue.execution.settling import Settling
from secure_queue.execution.ticker import every
from secure_queue.execution.upkeep import INTERVAL_S, Upkeep
from secure_queue.notes import withdraw
from secure_queue.partitions import homes
from secure_queue.payload.codec import Codec
from secure_queue.settings import QueueSettings, WorkerSettings
from secure_queue.storage import Storage, Storages

FIRST_LOOK_S = 1.0
SILENT_S = 5.0

_log = logging.getLogger("secure_queue.worker")


class Lanes:
    """All that a worker does once for each partition. *outboxes* grow with the lanes."""

    def __init__(
        self,
        storages: Storages,
        codec: Codec,
        queue: QueueSettings,
        settings: WorkerSettings,
        desk: Desk,
        outboxes: dict[int, Outbox],
        settling: Settling,
        heartbeat: Heartbeat,
        new_outbox: Callable[[Storage], Outbox],
        journal: Journal,
        drained: Callable[[], None] | None,
        assurance: Assurance,
        limits_rest: Callable[[], bool],
    ) -> None:
        self._new_outbox = new_outbox
        self._journal = journal
        self._storages = storages
        self._codec = codec
        self._queue = queue
        self._settings = settings
        self._desk = desk
        self._outboxes = outboxes
        self._settling = settling
        self._heartbeat = heartbeat
        self._drained = drained
        self._assurance = assurance
        self._limits_rest = limits_rest
        self._appetite = Appetite(settings.prefetch, desk)
        self._fetchers: list[Fetcher] = []
        self._relays: list[Relay] = []
        self._upkeeps: list[Upkeep] = []
        self.key_partitions: int | None = None
        """Over how many partitions ids of one's own are spread, as far as that is known: see ``Register``."""
        self._others: frozenset[str] = frozenset()
        self._fetching: TaskGroup | None = None

    async def open(self, background: TaskGroup) -> None:
        """Settle and keep in *background* what is known of, and from now on every new partition."""
        self._background = background
        self._grow(self._queue.partitions)
        with anyio.move_on_after(FIRST_LOOK_S):
            try:
                await self._look()
            except SecureQueueError as error:
                _log.warning("the register of the queue cannot be read now: %s", error)
        background.start_soon(every, INTERVAL_S, self._look)

    async def fetch_until(self, end: anyio.Event) -> None:
        """Claim from all lanes until *end*."""
        async with anyio.create_task_group() as self._fetching:
            for fetcher in self._fetchers:
                self._fetching.start_soon(fetcher.run)
            await end.wait()
            for fetcher in self._fetchers:
                fetcher.hurry()
            self._fetching.cancel_scope.cancel()
        self._fetching = None

    async def take_in_the_last_claims(self) -> None:
        """A claim may have been cut off; its tasks are handed back like the others instead of waiting for a lease."""
        with anyio.move_on_after(LAST_CLAIM_S):
            async with anyio.create_task_group() as group:
                for fetcher in self._fetchers:
                    group.start_soon(_recover, fetcher)

    @property
    def count(self) -> int:
        """How many partitions are served."""
        return len(self._upkeeps)

    def silent(self) -> list[int]:
        """The partitions whose server has not answered for some seconds."""
        since = monotonic() - SILENT_S
        return [partition for partition, upkeep in enumerate(self._upkeeps) if upkeep.seen_at < since]

    async def drain(self) -> None:
        """Settle everything that is left."""
        async with anyio.create_task_group() as group:
            for outbox in self._outboxes.values():
                group.start_soon(outbox.drain)

    def return_surplus(self) -> None:
        """Hand back what cannot be started soon after all; to be called now and then."""
        self._appetite.return_surplus(self._settling.hand_back)

    async def _look(self) -> float | None:
        first = self._storages.at(0)
        known = await first.register(self._queue.partitions, self.key_partitions)
        self.key_partitions = known.key_partitions
        others = await first.untrusted_workers() - {self._settings.worker_id}
        if known.partitions > len(self._fetchers):
            _log.info("%d partitions are in use now", known.partitions)
        elif others == self._others:
            return None
        self._others = others
        self._grow(known.partitions)
        return None

    def _grow(self, partitions: int) -> None:
        """Open lanes until there are *partitions*, and choose anew at which this worker waits."""
        for partition in range(len(self._fetchers), partitions):
            self._open(partition)
        self._appetite.fetchers = count = len(self._fetchers)
        me = self._settings.worker_id
        mine = homes(count, self._others | {me})[me]
        for partition, fetcher in enumerate(self._fetchers):
            fetcher.waiters = len(mine) if partition in mine else 0

    def _open(self, partition: int) -> None:
        storage = self._storages.at(partition)
        outbox = self._outboxes[partition] = self._new_outbox(storage)
        relay = Relay(storage, self._storages, self._codec, self._assurance, self._desk)
        upkeep = Upkeep(
            storage,
            self._codec,
            self._settings,
            self._desk,
            self._heartbeat,
            self._settling,
            self._journal,
            relay.wake,
            partial(withdraw, self._storages.at, partition),
        )
        fetcher = Fetcher(
            storage,
            partition,
            self._settings,
            self._desk,
            self._appetite,
            outbox,
            self._settling.hand_back,
            upkeep.hurry,
            rested=None if self._drained is None else partial(self._end_if_all_rest, self._drained),
            first=partition < self._queue.partitions,
        )
        self._fetchers.append(fetcher)
        self._relays.append(relay)
        self._upkeeps.append(upkeep)
        self._background.start_soon(outbox.run)
        self._background.start_soon(relay.run)
        self._background.start_soon(every, INTERVAL_S, upkeep.tick, upkeep.pause)
        if self._fetching is not None:
            self._fetching.start_soon(fetcher.run)

    def _end_if_all_rest(self, drained: Callable[[], None]) -> None:
        """The end of a burst: nothing is held or on its way, and since then no partition had anything."""
        seen = self._desk.changes
        at_rest = self._desk.at_rest and self._limits_rest() and all(relay.at_rest for relay in self._relays)
        if at_rest and all(fetcher.empty_at == seen for fetcher in self._fetchers):
            drained()


async def _recover(fetcher: Fetcher) -> None:
    try:
        await fetcher.recover()
    except SecureQueueError as error:
        _log.warning("the last claim could not be looked up: %s", error)
