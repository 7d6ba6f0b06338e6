"""Settles runs in batches: one call in flight per verb, whatever has finished meanwhile goes into the next."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import anyio

from secure_queue.coalesce import Coalescer
from secure_queue.errors import SecureQueueError
from secure_queue.execution.finished import Finished
from secure_queue.execution.runs import Desk, Run
from secure_queue.handover import Question
from secure_queue.limiting import Parked
from secure_queue.pausing import Shelved, Shelving
from secure_queue.reports import Report, Reported
from secure_queue.storage import End, GiveBack, Refused, Storage

Item = TypeVar("Item", End, GiveBack, Refused)
Flags: TypeAlias = Sequence[bool | None]
"""For each run whether it was settled: False if its lease was lost, None if there was nothing to settle."""

LARGEST_BATCH = 500
LARGEST_REFUSAL = 100
"""What is put aside is copied with its payload, while the server does nothing else."""

_log = logging.getLogger("secure_queue.worker")


class Tray(Generic[Item]):
    """The runs that wait for one verb."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Item]], Awaitable[Flags]],
        desk: Desk,
        remember: Callable[[Sequence[Item], Sequence[Run | None], Flags], None] | None = None,
        largest: int = LARGEST_BATCH,
    ) -> None:
        self.name = name
        self._largest = largest
        self._remember: Callable[[Sequence[Item], Sequence[Run | None], Flags], None] = remember or _forget
        self._send: Callable[[Sequence[Item]], Awaitable[Flags]] = send
        self._desk = desk
        self._items: list[Item] = []
        self._under_way = 0
        self._filled = anyio.Event()
        self._one_at_a_time = anyio.Lock(fast_acquire=True)

    def add(self, item: Item) -> None:
        """Put *item* in; it is on its way as soon as the call in flight is done."""
        if not self._items:
            self._filled.set()
        self._items.append(item)

    def __len__(self) -> int:
        return len(self._items) + self._under_way

    async def run(self) -> None:
        """Send what comes in, for ever."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            await self.drain()

    async def drain(self) -> None:
        """Send all that is there, and wait for what is on its way already."""
        async with self._one_at_a_time:
            while self._items:
                batch, self._items = self._items[: self._largest], self._items[self._largest :]
                self._under_way = len(batch)
                self._note(batch, await self._settle(batch))

    async def _settle(self, batch: list[Item]) -> Flags:
        try:
            return await self._send(batch)
        except SecureQueueError as error:
            # The leases run out and the tasks run again: at least once is kept.
            _log.error("%d runs could not be settled (%s): %s", len(batch), self.name, error)
            return [False] * len(batch)
        except Exception:  # a fault of ours: the same, but it should be seen
            _log.exception("%d runs could not be settled (%s)", len(batch), self.name)
            return [False] * len(batch)
        except BaseException:
            self._items = batch + self._items  # cancelled: every verb may be repeated
            raise
        finally:
            self._under_way = 0

    def _note(self, batch: Sequence[Item], kept: Flags) -> None:
        runs = self._desk.let_go([(item.task_id, item.token) for item in batch])
        self._remember(batch, runs, kept)
        stale = kept.count(False)
        if stale:
            self._desk.counters["stale"] += stale
            _log.warning("%d runs were not settled (%s): their leases were lost", stale, self.name)


class Outbox:
    """All ways in which a run of one partition can be settled, the note that it begins, and what is asked beside it."""

    def __init__(
        self,
        desk: Desk,
        priorities: Sequence[str],
        finished: Finished,
        note_refused: Callable[[Sequence[Refused], object, Flags], None],
        storage: Storage,
    ) -> None:
        self._finished = finished
        self.complete: Tray[End] = Tray("complete", storage.complete, desk, self._remember)
        self.bury: Tray[End] = Tray("bury", storage.bury, desk)
        self.refuse: Tray[Refused] = Tray("put aside", storage.quarantine, desk, note_refused, LARGEST_REFUSAL)
        self.retry: dict[str, Tray[GiveBack]] = {}
        self.release: dict[str, Tray[GiveBack]] = {}
        for name in priorities:
            self.retry[name] = Tray("retry", _for_priority(storage.retry, name), desk)
            self.release[name] = Tray("release", _for_priority(storage.release, name), desk)
        self.park: dict[str, Coalescer[Parked, bool]] = {
            name: Coalescer(partial(storage.park, name), LARGEST_BATCH) for name in priorities
        }
        self.shelve: dict[str, Coalescer[Shelving, Shelved]] = {
            name: Coalescer(partial(storage.shelve, name), LARGEST_BATCH) for name in priorities
        }
        self.begin: Coalescer[GiveBack, bool] = Coalescer(storage.begin, LARGEST_BATCH)
        self.report: Coalescer[Report, Reported] = Coalescer(storage.report, LARGEST_BATCH)
        self.handed: Coalescer[Question, tuple[int, Mapping[bytes, bytes]]] = Coalescer(storage.handed, LARGEST_BATCH)
        self.trays: list[Tray[End] | Tray[GiveBack] | Tray[Refused]] = [
            self.complete,
            self.bury,
            self.refuse,
            *self.retry.values(),
            *self.release.values(),
        ]

    def _remember(self, ends: Sequence[End], runs: Sequence[Run | None], kept: Flags) -> None:
        """Note which tasks are finished, from the moment when their results are known to be written."""
        self._finished.note(
            (run.opened.jti, end)
            for end, run, flag in zip(ends, runs, kept, strict=True)
            if flag and run is not None and run.opened is not None
        )

    @property
    def unsettled(self) -> int:
        """How many runs have ended and are not settled yet."""
        return sum(map(len, self.trays))

    async def run(self) -> None:
        """Keep every tray moving, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.begin.run)
            group.start_soon(self.report.run)
            group.start_soon(self.handed.run)
            for parked in self.park.values():
                group.start_soon(parked.run)
            for shelved in self.shelve.values():
                group.start_soon(shelved.run)
            for tray in self.trays:
                group.start_soon(tray.run)

    async def drain(self) -> None:
        """Send what is left in any tray."""
        for tray in self.trays:
            await tray.drain()


def _forget(items: Sequence[object], runs: object, kept: Flags) -> None:
    """What does not finish a task need not be remembered."""


def _for_priority(
    verb: Callable[[str, Sequence[GiveBack]], Awaitable[list[bool]]], priority: str
) -> Callable[[Sequence[GiveBack]], Awaitable[list[bool]]]:
    async def send(runs: Sequence[GiveBack]) -> list[bool]:
        return await verb(priority, runs)

    return send
