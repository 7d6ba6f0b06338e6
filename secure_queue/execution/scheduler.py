"""Fires schedules when their time has come: every worker does, there is no leader, and each firing is enqueued once.

Who fires is decided by the storage: a firing names the mark upon which it was decided, and only the first one that comes
with it moves that mark. Times are the server's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from secure_queue.clock import now_ms
from secure_queue.declare_schedules import Declared
from secure_queue.errors import KeyRingError, PayloadError, Rejected
from secure_queue.execution.runs import Desk
from secure_queue.names import printable
from secure_queue.payload.codec import Codec
from secure_queue.plans import Mark, Plan, due, due_at_startup, read_mark, rule_id
from secure_queue.schedule_records import Repeated, firing_id, open_schedule, seal_firing, serialized
from secure_queue.settings import QueueSettings
from secure_queue.storage import Storage
from secure_queue.timetable import Fired, Firing, Timetable

LOOK_S = 1.0
NOTE_MS = 30 * 86_400_000
"""So often it is noted at least that a schedule is looked at: marks of those that code has lost are dropped some day."""

_log = logging.getLogger("secure_queue.worker")
_audit_log = logging.getLogger("secure_queue.audit")


@dataclass(slots=True)
class _Entry:
    """A schedule as this worker knows it; ``next_ms`` is when to look at it again, by the server's clock."""

    repeated: Repeated
    arguments: bytes
    serializer_id: int | None
    next_ms: int = 0
    begun_ms: int | None = None
    """When this worker looked at it first."""
    has_more: bool = False
    """Whether firings are left that wait for others to end, so that it is looked at in every round."""


class Scheduler:
    """One round is ``tick``."""

    def __init__(
        self, storage: Storage, codec: Codec, declared: Mapping[str, Declared], desk: Desk, queue: QueueSettings
    ) -> None:
        self._storage = storage
        self._codec = codec
        self._declared = declared
        self._desk = desk
        self._queue = queue
        self._version = b"?"  # none that the storage has
        self._in_code: dict[str, _Entry] = {}
        self._taken_in: dict[str, Declared] = {}
        self._stored: dict[str, _Entry] = {}
        self._ahead_ms = 0

    async def tick(self) -> float | None:
        """One round; returns the seconds until the next firing."""
        await self._take_in()
        entries = self._stored | self._in_code
        now = now_ms() + self._ahead_ms
        names = [name for name, entry in entries.items() if entry.has_more or entry.next_ms <= now]
        table = await self._storage.timetable(self._version, [name.encode() for name in names])
        self._ahead_ms = table.now_ms - now_ms()
        for name, untrusted_mark in zip(names, table.untrusted_marks, strict=True):
            await self._look_at(entries[name], untrusted_mark, table.now_ms)
        self._learn(table)
        moments = [entry.next_ms for entry in (self._stored | self._in_code).values()]
        return max(0.0, (min(moments) - table.now_ms) / 1000) if moments else None

    async def _take_in(self) -> None:
        """Look after what has been declared since the last round: at the first one everything, later what is new."""
        for name, one in list(self._declared.items()):
            if self._taken_in.get(name) is one:
                continue
            self._taken_in[name] = one
            try:
                arguments = await serialized(self._codec, one.args, one.kwargs)
            except PayloadError as error:
                _log.error("the schedule %s cannot fire: %s", printable(name), error)
            else:
                self._in_code[name] = _Entry(one.repeated, arguments, None)

    def _learn(self, table: Timetable) -> None:
        """Take over the stored schedules if they have changed; what does not open is told, and ends nothing."""
        if table.untrusted_schedules is None:
            return
        known, self._stored, self._version = self._stored, {}, table.version
        for untrusted_id, untrusted in table.untrusted_schedules.items():
            try:
                repeated, record = open_schedule(self._codec, untrusted_id, untrusted)
            except Rejected as error:
                _audit_log.error("the schedule %s was ignored: %s", printable(untrusted_id), error)
                continue
            before = known.get(repeated.schedule_id)
            same = before is not None and before.repeated.sealed == untrusted
            self._stored[repeated.schedule_id] = (
                before if same and before is not None else _Entry(repeated, record.value, record.serializer_id)
            )

    async def _look_at(self, entry: _Entry, untrusted_mark: bytes, server_ms: int) -> None:
        """Decide what *entry* has to run now, and have it enqueued."""
        plan = entry.repeated.plan
        mark = read_mark(untrusted_mark, server_ms)
        starting, entry.begun_ms = entry.begun_ms is None, entry.begun_ms or server_ms
        firings = due(plan, mark, server_ms, begun_ms=entry.begun_ms)
        if starting and not firings:
            firings = due_at_startup(plan, mark, server_ms)
        entry.next_ms = min(plan.rule.next_after(server_ms) or server_ms + 86_400_000, server_ms + NOTE_MS)
        if not firings and (mark is None or _is_out_of_date(mark, plan, server_ms, starting=starting)):
            await self._storage.fire(self._firing(entry, untrusted_mark, server_ms, None))
        entry.has_more = False
        for moment_ms in firings:
            firing = self._firing(entry, untrusted_mark, moment_ms, mark)
            answer = await self._fire(entry, firing)
            if answer is not Fired.FIRED:
                entry.has_more = plan.misses_nothing and answer in (Fired.WAITS, Fired.STALE)
                return
            untrusted_mark, mark = firing.mark, read_mark(firing.mark, server_ms)

    async def _fire(self, entry: _Entry, firing: Firing) -> Fired | None:
        """Fire once; anything but ``FIRED`` ends the round for this schedule, None says that it cannot fire."""
        own = None if firing.priority == self._queue.lowest_priority else firing.priority
        try:
            task_id, sealed = seal_firing(
                self._codec, entry.repeated, firing.moment_ms, entry.arguments, entry.serializer_id, own
            )
        except (PayloadError, KeyRingError) as error:
            _log.error("the schedule %s cannot fire: %s", printable(entry.repeated.schedule_id), error)
            return None
        answer = await self._storage.fire(firing._replace(task_id=task_id.encode(), sealed=sealed))
        if answer is Fired.OVERLAP:
            _log.warning("schedule %s: the run before has not ended", printable(entry.repeated.schedule_id))
        if answer in (Fired.FIRED, Fired.OVERLAP):
            self._desk.counters[answer.value] += 1
        return answer

    def _firing(self, entry: _Entry, seen: bytes, moment_ms: int, mark: Mark | None) -> Firing:
        repeated = entry.repeated
        name = repeated.schedule_id
        before = "" if repeated.plan.overlap or mark is None else mark.task_id
        new = f"{moment_ms}:{moment_ms}:{firing_id(name, moment_ms)}:{rule_id(repeated.plan.rule)}"
        return Firing(
            name.encode(),
            seen,
            new.encode(),
            moment_ms,
            repeated.sealed,
            before.encode(),
            priority=repeated.priority or self._queue.default_priority,
            waits=repeated.plan.misses_nothing,
        )


def _is_out_of_date(mark: Mark, plan: Plan, server_ms: int, *, starting: bool) -> bool:
    return (starting and not mark.is_of(plan.rule)) or server_ms - mark.looked_ms >= NOTE_MS
