"""Decides about a claimed task that depends on others, by the sealed ends of its parents.

That it was claimed is no sign that it may run: it may be time to look whether it was forgotten, or somebody without a key
has put it into the queue. What counts are its own sealed edges, and for each of them a genuine result of that very parent.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from secure_queue.clock import now_ms
from secure_queue.edges import Edge, Fail, Fate, Go, Passes, Skip, Take, Wait, arguments, decide, spelled
from secure_queue.errors import Rejected, SecureQueueError
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.settling import Settling
from secure_queue.handover import Followed, Question
from secure_queue.names import printable
from secure_queue.outcomes import value_of
from secure_queue.partitions import is_generated
from secure_queue.payload.codec import Codec, Opened, Purpose
from secure_queue.payload.failures import Failure
from secure_queue.payload.records import Outcome, ResultHead
from secure_queue.storage import Storages

LOOK_MS: Final = 60_000
"""How long a task waits for a word of its parents until somebody looks whether it was forgotten."""
PAUSE_MS: Final = 500
ASK_S: Final = 20.0
TIDY_S: Final = 5.0
MOST_BEGUN: Final = 10_000
TIDY_BATCH: Final = 200

_FATES: Final = {Outcome.DONE: Fate.DONE, Outcome.FAILED: Fate.FAILED, Outcome.ABORTED: Fate.ABORTED}
_log = logging.getLogger("secure_queue.worker")
_audit_log = logging.getLogger("secure_queue.audit")


@dataclass(frozen=True, slots=True)
class Call:
    """Run the task, with *first* before its own arguments."""

    first: list[Any]


@dataclass(frozen=True, slots=True)
class Inherit:
    """Do not run it: its result is *value*, that of the parent that it stands in for, and as hidden as that was."""

    value: Any
    encrypted: bool


@dataclass(slots=True)
class _Ends:
    """What is known of the parents of one task, edge by edge."""

    edges: Sequence[Edge]
    fates: list[Fate | None]
    handed: dict[bytes, bytes]
    seen: int

    def open_places(self) -> list[int]:
        """The edges whose parents have not ended, as far as is known."""
        return [place for place, fate in enumerate(self.fates) if fate is None]


class Dependents:
    """One object serves all seats of a worker."""

    def __init__(
        self,
        storages: Storages,
        codec: Codec,
        desk: Desk,
        outboxes: Mapping[int, Outbox],
        settling: Settling,
    ) -> None:
        self._storages = storages
        self._outboxes = outboxes
        self._codec = codec
        self._desk = desk
        self._settling = settling
        self._begun: set[tuple[int, bytes]] = set()

    async def admit(self, run: Run, edges: Sequence[Edge]) -> Call | Inherit | None:
        """What to do with a task now; None if it is settled, or waits on."""
        try:
            return await self._admit(run, edges)
        except SecureQueueError as error:
            _log.warning("the parents of task %s cannot be looked at now: %s", printable(run.genuine.task_id), error)
            self._settling.hand_back(run, after_ms=PAUSE_MS)
            return None

    async def _admit(self, run: Run, edges: Sequence[Edge]) -> Call | Inherit | None:
        ends = await self._look(run, edges)
        if isinstance(decide(edges, ends.fates), Wait):
            await self._ask_parents(run, ends)
        decision = decide(edges, ends.fates)
        if isinstance(decision, Wait):
            await self._sleep(run, ends)
            return None
        if len(self._begun) < MOST_BEGUN:  # what is not remembered expires
            self._begun.add((run.partition, run.claim.untrusted_id))
        match decision:
            case Fail(edge, fate):
                self._settling.fail(run, _failure(edge, fate))
            case Skip(edge, fate):
                self._settling.skip(run, _needless(edge, fate))
            case Take(place):
                return await self._inherited(run, ends, place)
            case Go():
                return await self._called(run, ends)
        return None

    # How the parents ended

    async def _look(self, run: Run, edges: Sequence[Edge]) -> _Ends:
        """What was handed over, as far as it is genuine."""
        parents = tuple(dict.fromkeys(edge.task_id.encode() for edge in edges))
        question = Question(run.claim.untrusted_id, parents)
        seen, handed = await self._outboxes[run.partition].handed.ask(question)
        ends = _Ends(edges, [], dict(handed), seen)
        ends.fates = [self._fate(edge, ends) for edge in edges]
        return ends

    def _fate(self, edge: Edge, ends: _Ends) -> Fate | None:
        """How a parent ended by what it has handed over, if that is the genuine word of this very enqueue."""
        untrusted = ends.handed.get(edge.task_id.encode())
        if not untrusted:
            return None
        try:
            end = self._codec.verify_late(untrusted, Purpose.RESULT, edge.task_id, now_ms=now_ms())
            head = ResultHead.unpack(end.head)
            return _FATES[head.outcome] if head.kept and end.ref == edge.jti else None
        except Rejected as error:
            _audit_log.error("what %s has handed over was ignored: %s", printable(edge.task_id), error)
            return None

    async def _ask_parents(self, run: Run, ends: _Ends) -> None:
        """Have the parents that are left told once more who waits for them, and learn which of them are gone."""
        me = spelled([(run.partition, run.genuine.task_id)])
        by_partition: dict[int, list[int]] = defaultdict(list)
        for place in ends.open_places():
            by_partition[ends.edges[place].partition].append(place)
        gone: list[int] = []
        for partition, places in by_partition.items():
            parents = [(ends.edges[place].task_id.encode(), me) for place in places]
            answers = await self._storages.at(partition).follow(parents, tell=False, deadline=ASK_S)
            for place, answer in zip(places, answers, strict=True):
                if await self._is_gone(ends.edges[place], answer, ends):
                    gone.append(place)
        if gone:
            await self._believe_gone(run, ends, gone)

    async def _is_gone(self, edge: Edge, answer: Followed, ends: _Ends) -> bool:
        """Whether this very enqueue of a parent is not stored any more."""
        if answer is Followed.GONE:
            return True
        if answer is Followed.ENDED:  # its end is on its way, unless it has arrived and is that of another enqueue
            return edge.task_id.encode() in ends.handed
        return not is_generated(edge.task_id, edge.jti) and await self._is_another(edge)

    async def _is_another(self, edge: Edge) -> bool:
        """Whether somebody else has enqueued a task under the id of a parent."""
        untrusted, _ = await self._storages.at(edge.partition).whose(edge.task_id.encode())
        try:
            found = self._codec.verify_late(
                untrusted,  # type: ignore[arg-type]  # what is not bytes is rejected
                Purpose.TASK,
                edge.task_id,
                now_ms=now_ms(),
            )
        except Rejected:
            return False
        return found.jti != edge.jti

    async def _believe_gone(self, run: Run, ends: _Ends, places: Sequence[int]) -> None:
        """A parent may have ended while it was asked for: then its end was handed over before it was gone."""
        again = await self._look(run, ends.edges)
        ends.handed, ends.seen = again.handed, again.seen
        for place in places:
            ends.fates[place] = again.fates[place] or Fate.GONE

    # What comes of it

    async def _sleep(self, run: Run, ends: _Ends) -> None:
        claim = run.claim
        waiting = {ends.edges[place].task_id.encode() for place in ends.open_places()}
        drop = sorted(waiting & ends.handed.keys())
        held = await self._storages.at(run.partition).sleep(
            claim.untrusted_id, claim.token, claim.priority, look_ms=LOOK_MS, seen=ends.seen, drop=drop
        )
        self._desk.let_go(((claim.untrusted_id, claim.token),))
        self._desk.counters["waiting" if held else "lost"] += 1

    async def _called(self, run: Run, ends: _Ends) -> Call | None:
        try:
            values = [await self._value(edge, ends) if _is_passed(edge) else None for edge in ends.edges]
        except Rejected as error:
            self._settling.fail(run, _unreadable(error))
            return None
        return Call(arguments(ends.edges, values))

    async def _inherited(self, run: Run, ends: _Ends, place: int) -> Inherit | None:
        try:
            end = self._opened(ends.edges[place], ends)
            return Inherit(await value_of(self._codec, end, ResultHead.unpack(end.head), {}), end.is_encrypted)
        except Rejected as error:
            self._settling.fail(run, _unreadable(error))
            return None

    async def _value(self, edge: Edge, ends: _Ends) -> Any:
        if not ends.handed.get(edge.task_id.encode()):  # gone, and the edge permits it
            return None
        end = self._opened(edge, ends)
        return await value_of(self._codec, end, ResultHead.unpack(end.head), {})

    def _opened(self, edge: Edge, ends: _Ends) -> Opened:
        untrusted = ends.handed[edge.task_id.encode()]
        return self._codec.open_late(untrusted, Purpose.RESULT, edge.task_id, now_ms=now_ms(), ref=edge.jti)

    async def tidy(self) -> None:
        """Delete what was handed over to tasks that have ended here; to be called now and then."""
        by_partition: dict[int, list[bytes]] = defaultdict(list)
        for partition, task_id in self._begun:
            by_partition[partition].append(task_id)
        for partition, task_ids in by_partition.items():
            for first in range(0, len(task_ids), TIDY_BATCH):
                some = task_ids[first : first + TIDY_BATCH]
                ended = await self._storages.at(partition).forget_handed(some)
                self._begun -= {(partition, task_id) for task_id, flag in zip(some, ended, strict=True) if flag}


def _is_passed(edge: Edge) -> bool:
    return edge.passes in (Passes.VALUE, Passes.LISTED)


def _failure(edge: Edge, fate: Fate) -> Failure:
    if fate is Fate.GONE:
        return Failure(
            "secure_queue.ParentGone",
            f"it depends on task {edge.task_id}, which is not stored any more; keep its result longer (ttl=), or say "
            "start(after=…, gone='run')",
        )
    return Failure("secure_queue.ParentFailed", f"it depends on task {edge.task_id}, which failed")


def _needless(edge: Edge, fate: Fate) -> Failure:
    if fate is Fate.ABORTED:
        return Failure("secure_queue.ParentAborted", f"it depends on task {edge.task_id}, which was aborted")
    return Failure("secure_queue.NotNeeded", f"it was there for a failure of task {edge.task_id}, which succeeded")


def _unreadable(error: Rejected) -> Failure:
    return Failure("secure_queue.ParentUnreadable", f"the result of a task that it depends on does not open: {error}")
