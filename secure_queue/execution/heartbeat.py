"""Prolongs the leases of held tasks from a thread of its own, so that a task which blocks the event loop keeps its lease.

The thread has its own event loop and its own connection. It reads the table of held runs and leaves what it learns in
two places that the worker's loop looks at: leases that are lost, and how long that loop has not moved.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.to_thread

from secure_queue.clock import monotonic
from secure_queue.errors import SecureQueueError
from secure_queue.execution.runs import Desk
from secure_queue.limiting import Holder
from secure_queue.names import printable
from secure_queue.storage import GiveBack, Storage, Storages

CHECK_S = 1.0
BLOCKED_AFTER_S = 2.0
JOIN_S, JOIN_POLL_S = 10.0, 0.01

_log = logging.getLogger("secure_queue.worker")


class Heartbeat:
    """Keeps the leases of a desk; start it with ``beating``."""

    def __init__(
        self, open_storages: Callable[[], AbstractAsyncContextManager[Storages]], desk: Desk, lease_ms: int
    ) -> None:
        self._open_storages = open_storages
        self._desk = desk
        self._lease_ms = lease_ms
        self._interval_s = lease_ms / 3000
        self._stop = threading.Event()
        self._warned = False
        self.lost: deque[tuple[bytes, bytes]] = deque()
        """Ids and tokens of leases that were lost; the worker's loop takes them out."""
        self.beat_at = monotonic()
        """When the thread was last seen at work."""
        self.pulse = monotonic()
        """When the worker's loop last moved; that loop writes it."""

    @property
    def is_fresh(self) -> bool:
        """Whether the thread has been at work within a lease."""
        return monotonic() - self.beat_at < self._lease_ms / 1000

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Run the thread for the time of the context."""
        thread = threading.Thread(target=self._run, name="secure-queue-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            with anyio.move_on_after(JOIN_S, shield=True):
                while thread.is_alive():  # noqa: ASYNC110 - another thread, and joining it here would take one more
                    await anyio.sleep(JOIN_POLL_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                anyio.run(self._beat)
            except Exception:
                _log.exception("the heartbeat failed and starts again")
                self._stop.wait(CHECK_S)

    async def _beat(self) -> None:
        async with self._open_storages() as storages:
            last = monotonic()
            while not self._stop.is_set():
                await anyio.to_thread.run_sync(self._stop.wait, min(CHECK_S, self._interval_s))
                self.beat_at = monotonic()
                self._look_for_a_blocked_loop()
                if monotonic() - last >= self._interval_s:
                    last = monotonic()
                    await self._renew_everywhere(storages)
                if monotonic() - self.pulse > self._lease_ms / 1000:
                    await self._free_unstarted(storages)

    async def _free_unstarted(self, storages: Storages) -> None:
        """A loop that has not moved for a whole lease begins nothing soon: other workers have what it has not begun."""
        runs = self._desk.give_up_unstarted()
        places = {(run.partition, run.claim.priority) for run in runs}
        for partition, priority in places:
            some = [run.claim for run in runs if (run.partition, run.claim.priority) == (partition, priority)]
            await self._release(
                storages.at(partition), priority, [GiveBack(one.untrusted_id, one.token) for one in some]
            )
        if runs:
            _log.warning("the event loop is blocked; %d tasks that were not begun are left to others", len(runs))

    async def _release(self, storage: Storage, priority: str, runs: list[GiveBack]) -> None:
        try:
            await storage.release(priority, runs)
        except SecureQueueError as error:
            _log.warning("tasks could not be left to others now: %s", error)

    async def _renew_everywhere(self, storages: Storages) -> None:
        """All partitions at once: one that does not answer must not cost the leases of the others."""
        async with anyio.create_task_group() as group:
            for partition, held in self._desk.leases(monotonic()).items():
                group.start_soon(self._renew, storages.at(partition), held)
            for home, holders in self._desk.permits(monotonic()).items():
                group.start_soon(self._hold, storages.at(home), home, holders)

    async def _renew(self, storage: Storage, held: list[GiveBack]) -> None:
        for first in range(0, len(held), 500):
            some = held[first : first + 500]
            try:
                kept = await storage.renew(self._lease_ms, some)
            except SecureQueueError as error:
                _log.warning("leases could not be prolonged now: %s", error)
                return
            self.lost.extend((run.task_id, run.token) for run, flag in zip(some, kept, strict=True) if not flag)

    async def _hold(self, storage: Storage, home: int, holders: list[Holder]) -> None:
        """Prolong permits; what was lost while its task runs on is taken again, for it does run."""
        try:
            for first in range(0, len(holders), 500):
                some = holders[first : first + 500]
                held = await storage.hold(self._lease_ms, some)
                lost = {holder for holder, flag in zip(some, held, strict=True) if not flag}
                if lost and (still := lost.intersection(self._desk.permits(monotonic())[home])):
                    await storage.hold_again(self._lease_ms, list(still))
        except SecureQueueError as error:
            _log.warning("permits could not be prolonged now: %s", error)

    def _look_for_a_blocked_loop(self) -> None:
        lag = monotonic() - self.pulse
        if lag < BLOCKED_AFTER_S:
            self._warned = False
        elif not self._warned:
            self._warned = True
            running = sorted({printable(run.genuine.function) for run in list(self._desk.running)})
            _log.warning(
                "the event loop has been blocked for %.1f s; running: %s", lag, ", ".join(running) or "nothing"
            )
