"""The contract between those who act on tasks and the place where tasks are kept: batch verbs on sealed bytes.

Storage never looks inside a payload. Every verb is atomic for each task and safe to repeat after an unknown outcome.
Time is the storage's own; an ``at_ms`` is 0 for now, negative for "that long from now", positive for a moment in
milliseconds since the epoch. A verb raises ``Unavailable`` when it was not confirmed before its deadline (seconds).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.evidence import Evidence, Renewed, Scannable
from secure_queue.handover import HandoverStorage
from secure_queue.keyed import KeyedStorage
from secure_queue.limiting import Holder, LimitStorage, Taking
from secure_queue.names import printable
from secure_queue.pausing import PauseStorage
from secure_queue.reports import ReportStorage
from secure_queue.timetable import TimetableStorage

UNKNOWN = object()
"""What ``watch`` answers for a task that is not stored."""


class Standing(StrEnum):
    """Where a task stands in the storage."""

    NOT_FOUND = "not_found"
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


class NewTask(NamedTuple):
    """A sealed task on its way into the queue."""

    task_id: bytes
    sealed: bytes
    at_ms: int
    priority: str

    def __repr__(self) -> str:
        return f"<NewTask {printable(self.task_id)}>"


class Stored(NamedTuple):
    """What became of a new task: whether its id is *new*, and the level of durability that holds now."""

    new: bool
    durability: Durability


class Claim(NamedTuple):
    """A task handed to a worker under a lease; nothing of it is verified yet."""

    untrusted_id: bytes
    untrusted: bytes | int | None
    """The stored bytes; their size alone if they are too large; None if there are none."""
    tries: int
    priority: str
    token: bytes
    may_be_answered: bool = False
    """Whether there seems to be a result of this id already: a hint, to be looked after."""
    has_begun: bool = False
    """Whether the try before this one has really begun, as far as that was noted (``begin``)."""

    def __repr__(self) -> str:
        return f"<Claim {printable(self.untrusted_id)} try {self.tries}>"


class Passed(NamedTuple):
    """Whose turn it is when permits were given back, but for those that were brought to the front of the queue."""

    claims: list[Claim]
    """Tasks that the caller has now; their permits are promised to them."""
    elsewhere: list[list[bytes]]
    """For each permit the names of those in other partitions."""


class End(NamedTuple):
    """The end of a run with a sealed result."""

    task_id: bytes
    token: bytes
    keep: int | bytes
    """How many ms the result is kept, negative for ever; or the sealed mark of one that is not kept."""
    sealed: bytes

    def __repr__(self) -> str:
        return f"<End {printable(self.task_id)}>"


class GiveBack(NamedTuple):
    """A run that ends without a result; the task runs again."""

    task_id: bytes
    token: bytes
    at_ms: int = 0


class Refused(NamedTuple):
    """A claimed payload that does not open: why, and its SHA-256 if it is known; without a token nothing is stored of it."""

    task_id: bytes
    token: bytes
    reason: str
    sha256: str = ""
    size: int = 0
    """How many bytes it has; for the log of whoever refuses it."""

    def __repr__(self) -> str:
        return f"<Refused {printable(self.task_id)}: {self.reason}>"


@dataclass(frozen=True, slots=True)
class Tick:
    """What one round of upkeep found."""

    next_due_ms: int | None
    promoted: int
    taken_back: int
    generation: bytes
    """A mark of this very dataset: a queue that was emptied or replaced has another one."""
    untrusted_aborts: Mapping[bytes, bytes]
    outgoing: int = 0
    """How many ends lie in the outbox for dependents."""
    untrusted_left: Mapping[bytes, bytes] = field(default_factory=dict)
    """Tasks that another call has replaced while they waited, and the notes what for."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that is stored of one task; values over the size limit are given by their size."""

    standing: Standing
    untrusted_task: bytes | int | None = field(repr=False)
    tries: int
    due_ms: int
    untrusted_result: bytes | int | None = field(repr=False)
    untrusted_death: bytes | int | None = field(repr=False)
    untrusted_note: bytes | int | None = None
    """What it was given back for."""


@dataclass(frozen=True, slots=True)
class Register:
    """What is known of a queue as a whole."""

    partitions: int
    """The largest number that anybody uses; all of them are served."""
    key_partitions: int
    """Over how many the ids of one's own are spread: fixed with the first use of the queue, so that they stay in place."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks stand in each state, and how many workers have shown themselves lately."""

    ready: Mapping[str, int]
    due: Mapping[str, int]
    running: int
    results: int
    dead: int
    quarantined: int
    workers: int
    shelved: Mapping[str, int] = field(default_factory=dict)
    """Tasks that were laid aside because their name is paused."""
    in_lines: Mapping[str, int] = field(default_factory=dict)
    """Tasks that stand behind others in the line of their key."""

    @property
    def waiting(self) -> int:
        """How many tasks wait, but for those that wait for their time."""
        return sum(sum(one.values()) for one in (self.ready, self.shelved, self.in_lines))


class Storage(TimetableStorage, ReportStorage, HandoverStorage, LimitStorage, PauseStorage, KeyedStorage, Protocol):
    """The verbs of one partition. ``RedisStorage`` implements them by one script each."""

    @property
    def in_trouble(self) -> bool:
        """Whether the last that was heard from the server is a fault."""
        ...

    def scannable(self) -> Scannable:
        """The same stored values, to be looked at one by one."""
        ...

    def evidence(self) -> Evidence:
        """What stands beside the tasks."""
        ...

    async def enqueue(
        self, tasks: Sequence[NewTask], deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> list[Stored]:
        """Store new tasks and wait until *assurance* holds. Raises ``Backpressure`` when the server is full.

        What was acknowledged lately is enqueued again, in the background, when the server may have lost it.
        """
        ...

    async def claim(self, worker: str, token: bytes, count: int, lease_ms: int) -> tuple[bool, list[Claim]]:
        """Take up to *count* ready tasks under a lease; also say whether more is ready.

        A repeated *token* gives what it gave before, as far as it is still held; with *count* 0 it gives nothing else.
        """
        ...

    async def leave(self, holders: Sequence[Holder], taking: Taking) -> Passed:
        """Take permits back and promise them to the first in the line, which the caller may run if it has a seat."""
        ...

    async def complete(self, ends: Sequence[End]) -> list[bool]:
        """End runs; False where the lease was lost, and then nothing was written."""
        ...

    async def bury(self, ends: Sequence[End]) -> list[bool]:
        """End runs that failed for good and keep the tasks as dead letters."""
        ...

    async def retry(self, priority: str, runs: Sequence[GiveBack]) -> list[bool]:
        """Give runs back for another try at their time."""
        ...

    async def release(self, priority: str, runs: Sequence[GiveBack]) -> list[bool]:
        """Hand claimed tasks back without using a try: to the front of the queue, or until their time."""
        ...

    async def begin(self, runs: Sequence[GiveBack]) -> list[bool]:
        """Note that runs really begin, before their last permitted try; False where the lease was lost."""
        ...

    async def renew(self, lease_ms: int, held: Sequence[GiveBack]) -> list[bool]:
        """Prolong leases; False where one was lost."""
        ...

    async def tick(self, worker: str, *, gone_after_ms: int, keep_dead_ms: int, keep_dead: int) -> Tick:
        """Promote due tasks, take back expired leases, trim, and note that *worker* lives."""
        ...

    async def abort(self, task_id: bytes, *, sealed: bytes, ttl_ms: int, mark: bytes) -> str:
        """End a waiting task with *sealed*, or leave *mark* for a running one: unknown, finished, running, aborted."""
        ...

    async def quarantine(self, cases: Sequence[Refused]) -> list[bool | None]:
        """Move payloads that did not open aside; False where the lease was lost, None where none is missing after all."""
        ...

    async def watch(self, client: str, task_ids: Sequence[bytes]) -> list[bytes | object | None]:
        """Read results: bytes (or the mark of one), None if *client* is told later, ``UNKNOWN`` if nothing is stored."""
        ...

    def listen(self, client: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[bytes, bytes]]]:
        """The results pushed to *client*, as (untrusted id, untrusted sealed result)."""
        ...

    async def claim_when_woken(
        self, worker: str, token: bytes, count: int, lease_ms: int, timeout: float
    ) -> tuple[bool, list[Claim], bool] | None:
        """Wait until there may be work, at most *timeout* seconds, and claim in the same breath; say if a task is due soon.

        Whoever is told that is the only one. None, or a cancellation, leaves all of it unknown: claim again with the same
        token to learn what was claimed.
        """
        ...

    async def look_up(self, task_id: bytes) -> Record:
        """All that is stored of one task."""
        ...

    async def list_ids(self, standing: Standing, *, priority: str, offset: int, limit: int) -> list[bytes]:
        """One page of the (untrusted) ids in a state; *priority* counts for queued and scheduled tasks only."""
        ...

    async def counts(self) -> Counts:
        """How many tasks stand where."""
        ...

    async def revive(self, task: Renewed) -> bool | bytes:
        """Put a dead letter back under a fresh seal, at the end of its line if it has one; False if there is none.

        With the digest of a key that is unique: the (untrusted) id of another task of it that counts, and then nothing was
        done.
        """
        ...

    async def forget(self, task_id: bytes) -> bool:
        """Delete a dead letter; False if there is none."""
        ...

    async def register(self, partitions: int, key_partitions: int | None) -> Register:
        """Asked of partition 0 only: note how many *partitions* the caller uses, and tell what is known of the queue.

        With 0 partitions nothing is noted. *key_partitions* is what the caller was told before; it counts if the register
        was lost.
        """
        ...

    async def untrusted_workers(self) -> frozenset[str]:
        """Asked of partition 0 only: the names of the workers that have shown themselves lately."""
        ...

    async def shrink(self, partitions: int, fewer: int) -> bool:
        """Asked of partition 0 only: *fewer* are used from now on; False if it is not *partitions* any more."""
        ...


class Storages(Protocol):
    """The partitions of one queue; none is connected before it is used."""

    def at(self, partition: int) -> Storage:
        """One of them."""
        ...
