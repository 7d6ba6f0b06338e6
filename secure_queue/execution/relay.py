"""Takes the ends of tasks from the outbox of a partition to the dependents, wherever those are.

Delivering comes first and deleting after it, and both may be repeated: whoever dies in between leaves the end where it was,
and the next worker delivers it once more, which changes nothing. Several workers may do the same at once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from secure_queue.clock import now_ms
from secure_queue.durability import Assurance
from secure_queue.edges import read_children
from secure_queue.errors import Rejected, SecureQueueError
from secure_queue.execution.runs import Desk
from secure_queue.handover import FAILED, SUCCEEDED, Handover, Outgoing
from secure_queue.names import stored_task_id
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.records import Outcome, ResultHead
from secure_queue.storage import Storage, Storages

DELIVERY_S: Final = 8.0
"""A partition that is away holds up the others for so long at the most."""

_log = logging.getLogger("secure_queue.worker")


class Relay:
    """Empties the outbox of one partition whenever it is told that something lies there."""

    def __init__(self, storage: Storage, storages: Storages, codec: Codec, assurance: Assurance, desk: Desk) -> None:
        self._codec = codec
        self._storage = storage
        self._storages = storages
        self._assurance = assurance
        self._desk = desk
        self._wanted = anyio.Event()
        self._under_way = False
        storage.on_outgoing(self.wake)

    def wake(self) -> None:
        """Something lies in the outbox."""
        self._wanted.set()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is on its way, as far as this worker knows."""
        return not self._under_way and not self._wanted.is_set()

    async def run(self) -> None:
        """Deliver, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted, self._under_way = anyio.Event(), True
            try:
                await self._empty()
            except SecureQueueError as error:
                _log.warning("dependents could not be told now, it is tried again: %s", error)
            except Exception:  # a fault of ours; what lies there stays there
                _log.exception("dependents could not be told now, it is tried again")
            finally:
                self._under_way = False
                self._desk.changes += 1

    async def _empty(self) -> None:
        while found := await self._storage.outgoing():
            delivered = await self._deliver(found)
            if not delivered:
                return  # their partitions are away; the next round of upkeep tries again
            await self._storage.sent(delivered)

    async def _deliver(self, found: Sequence[Outgoing]) -> list[bytes]:
        """Deliver to all partitions at once; the places of the ends that all their dependents have."""
        mail: dict[int, list[Handover]] = defaultdict(list)
        targets: dict[bytes, set[int]] = {}
        for end in found:
            children = read_children(end.untrusted_children) if stored_task_id(end.untrusted_id) else []
            targets[end.place] = {partition for partition, _ in children}
            ended = self._how_it_ended(end)
            for partition, child in children:
                mail[partition].append(Handover(child, end.untrusted_id, end.untrusted, ended))
        away = await self._undelivered(mail)
        return [place for place, partitions in targets.items() if away.isdisjoint(partitions)]

    def _how_it_ended(self, end: Outgoing) -> str:
        """What lets a dependent look before its other parents have ended; it looks for itself then."""
        try:
            result = self._codec.verify_late(
                end.untrusted, Purpose.RESULT, stored_task_id(end.untrusted_id) or "", now_ms=now_ms()
            )
            return SUCCEEDED if ResultHead.unpack(result.head).outcome is Outcome.DONE else FAILED
        except Rejected:
            return ""

    async def _undelivered(self, mail: Mapping[int, Sequence[Handover]]) -> set[int]:
        """Deliver; the partitions that did not confirm it."""
        away: set[int] = set()

        async def deliver(partition: int, handovers: Sequence[Handover]) -> None:
            try:
                await self._storages.at(partition).deliver(handovers, DELIVERY_S, self._assurance)
            except SecureQueueError as error:
                _log.warning(
                    "dependents in partition %d could not be told now, it is tried again: %s", partition, error
                )
                away.add(partition)

        async with anyio.create_task_group() as group:
            for partition, handovers in mail.items():
                group.start_soon(deliver, partition, handovers)
        return away
