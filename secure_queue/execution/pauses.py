"""What a worker knows of tasks that are paused by name, and how it lays one aside that it has claimed.

Names stand in sealed bytes, so no claim can leave such a task where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import Run
from secure_queue.pausing import Shelved, Shelving, paused_tasks, spelled
from secure_queue.storage import Storages

LOOK_S: Final = 1.0


class Pauses:
    """One object serves all partitions of a worker, which begins with so many of them."""

    def __init__(self, storages: Storages, outboxes: Mapping[int, Outbox], partitions: int) -> None:
        self._storages = storages
        self._outboxes = outboxes
        self._partitions = partitions
        self.names: frozenset[str] = frozenset()
        """The tasks that are paused, as of the last look."""

    async def look(self) -> None:
        """Learn what is paused; to be called now and then."""
        pauses = await self._storages.at(0).untrusted_pauses()
        if pauses:
            await self._pause_new_partitions(pauses)
        self.names = paused_tasks(pauses)

    async def _pause_new_partitions(self, pauses: Mapping[str, int]) -> None:
        """A partition that is used only now knows nothing of the pauses that were made before."""
        first = self._storages.at(0)
        known = await first.register(0, None)
        fresh = [self._storages.at(partition) for partition in range(self._partitions, known.partitions)]
        for storage in fresh:
            await storage.pause(pauses)
        for what in pauses.keys() - await first.untrusted_pauses() if fresh else ():  # resumed meanwhile
            for storage in fresh:
                await storage.resume(what)
        self._partitions = max(self._partitions, known.partitions)

    async def lay_aside(self, run: Run) -> bool:
        """Lay *run* aside until its task is resumed; False if that has happened already."""
        claim = run.claim
        shelving = Shelving(claim.untrusted_id, claim.token, spelled(None, run.genuine.function))
        return await self._outboxes[run.partition].shelve[claim.priority].ask(shelving) is not Shelved.OVER
