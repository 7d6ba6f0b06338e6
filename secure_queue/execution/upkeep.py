"""What every worker does for the queue twice a second: promote, take back, trim; and for its own runs: abort, let go."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping

import anyio

from secure_queue import names
from secure_queue.clock import monotonic, now_ms
from secure_queue.errors import Rejected
from secure_queue.execution.heartbeat import Heartbeat
from secure_queue.execution.journal import Journal
from secure_queue.execution.runs import NOBODY_KNOWS, Desk, Run
from secure_queue.execution.settling import Settling
from secure_queue.execution.verdict import Aborted, LeaseLost
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.settings import WorkerSettings
from secure_queue.storage import Storage

INTERVAL_S = 0.5
PRESENCE_MS = 10_000

_log = logging.getLogger("secure_queue.worker")
_audit_log = logging.getLogger("secure_queue.audit")


class Upkeep:
    """One round is ``tick``; it is idempotent, so any number of workers may do it."""

    def __init__(
        self,
        storage: Storage,
        codec: Codec,
        settings: WorkerSettings,
        desk: Desk,
        heartbeat: Heartbeat,
        settling: Settling,
        journal: Journal,
        wake_relay: Callable[[], None],
        withdraw: Callable[[Mapping[bytes, bytes]], Awaitable[None]],
    ) -> None:
        self._storage = storage
        self._codec = codec
        self._settings = settings
        self._desk = desk
        self._heartbeat = heartbeat
        self._settling = settling
        self._journal = journal
        self._wake_relay = wake_relay
        self._withdraw = withdraw
        self._generation: bytes | None = None
        self._hurried = anyio.Event()
        self.seen_at = -math.inf
        """When the server of this partition has answered last."""

    def hurry(self) -> None:
        """Have the next round now: somebody was told that a task is due soon."""
        self._hurried.set()

    async def pause(self, seconds: float) -> None:
        """Wait between two rounds, until somebody is in a hurry."""
        with anyio.move_on_after(seconds):
            await self._hurried.wait()
        self._hurried = anyio.Event()

    async def tick(self) -> float | None:
        """One round; returns the seconds until the next task is due, if one is waiting."""
        self._drop_lost_runs()
        found = await self._storage.tick(
            self._settings.worker_id,
            gone_after_ms=PRESENCE_MS,
            keep_dead_ms=round(self._settings.keep_dead_s * 1000),
            keep_dead=self._settings.keep_dead,
        )
        self.seen_at = monotonic()
        self._compare(found.generation)
        if found.outgoing:
            self._wake_relay()
        if found.taken_back:
            _log.warning("%d tasks of workers that vanished run again", found.taken_back)
        for untrusted_id, untrusted_mark in found.untrusted_aborts.items():
            self._abort(untrusted_id, untrusted_mark)
        if found.untrusted_left:
            await self._withdraw(found.untrusted_left)
        return None if found.next_due_ms is None else found.next_due_ms / 1000

    def _compare(self, generation: bytes) -> None:
        """Say so when the queue is not the one of before: restarted without its data, emptied, or replaced by another."""
        before, self._generation = self._generation, generation
        if before not in (None, generation):
            self._desk.counters["dataset_replaced"] += 1
            _log.error(
                "the data of this queue was replaced: what had not run yet is gone, but for what producers enqueue again; "
                "was the server restarted without its files (appendonly yes), or flushed?"
            )

    def _drop_lost_runs(self) -> None:
        while self._heartbeat.lost:
            run = self._desk.held.get(self._heartbeat.lost.popleft())
            if run is not None and run.interruption is None:
                _log.warning("the lease of task %s was lost; its run stops", names.printable(run.claim.untrusted_id))
                run.interrupt(LeaseLost())

    def _abort(self, untrusted_id: bytes, untrusted_mark: bytes) -> None:
        for run in list(self._desk.running):
            if run.claim.untrusted_id == untrusted_id and self._is_ordered(run, untrusted_mark):
                run.interrupt(Aborted())
        for run in self._desk.withdraw(untrusted_id):
            if self._open(run) and self._is_ordered(run, untrusted_mark):
                run.ttl_ms = NOBODY_KNOWS.ttl_ms
                self._settling.settle(run, Aborted())
            else:
                self._desk.put_back(run)

    def _open(self, run: Run) -> bool:
        """Verify a task that has not been started; what is wrong with it is told when a seat opens it."""
        claim = run.claim
        try:
            run.opened = self._codec.verify(
                claim.untrusted,  # type: ignore[arg-type]  # what is not bytes is rejected
                Purpose.TASK,
                claim.untrusted_id.decode("ascii"),
                now_ms=now_ms(),
            )
        except (Rejected, UnicodeDecodeError):
            return False
        return True

    def _is_ordered(self, run: Run, untrusted_mark: bytes) -> bool:
        """Whether the mark is a genuine order to stop this very enqueue."""
        if run.interruption is not None:
            return False
        task = run.genuine
        try:
            mark = self._codec.verify(
                untrusted_mark, Purpose.CONTROL, task.task_id, now_ms=now_ms(), function=task.function
            )
        except Rejected as error:
            _audit_log.error("an abort mark for %s was ignored: %s", names.printable(task.task_id), error)
            self._journal.note("abort-mark-ignored", id=task.task_id, reason=error.reason)
            return False
        return mark.ref == task.jti
