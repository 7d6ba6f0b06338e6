"""The contract between those who look at a queue from outside and what is stored there, value by value, all untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from secure_queue.names import printable


class Structure(StrEnum):
    """What a stored key is for; ``OTHER`` holds no payloads and no ids, ``STRAY`` is no part of the layout."""

    BUCKET = "tasks"
    RESULT = "result"
    ABORTS = "aborts"
    SCHEDULES = "schedules"
    QUARANTINE = "quarantine"
    READY = "ready"
    DUE = "due"
    LEASES = "leases"
    DEAD = "dead"
    RESULTS = "results"
    PRESENCE = "presence"
    PARTIAL = "partial"
    HANDED = "handed"
    OUTBOX = "outbox"
    WORKFLOW = "workflow"
    MISFIT = "misfit"
    OTHER = "other"
    STRAY = "stray"


class StoredKey(NamedTuple):
    """A key of the queue; ``ttl_ms`` is -1 without expiry, ``size`` is known of strings only."""

    untrusted_key: bytes
    structure: Structure
    untrusted_rest: bytes
    """What the name says after the structure: an id, a priority, a number."""
    type: str
    sound: bool
    """Whether it has the type of its structure."""
    ttl_ms: int
    size: int
    untrusted: bytes | int | None
    """A string's bytes, its size if it is too large; None if it must be read by ``peek``, and for all other types."""


class StoredField(NamedTuple):
    """A field of a hash; ``untrusted`` is None if it was left out of this step and must be read by ``peek``."""

    untrusted_name: bytes
    size: int
    untrusted: bytes | int | None
    owned: bool
    """Whether the task that it belongs to is stored beside it."""


class Place(NamedTuple):
    """Where a payload lies."""

    structure: Structure
    untrusted_id: bytes
    """Of what it was sealed for."""
    beside: bytes = b""
    """What else its place is named by: the dependent, the mark of a failure, the name of a part or of an end on its way."""
    before: bytes = b""
    """What stands before it."""


class Renewed(NamedTuple):
    """A task under a fresh seal on its way back into the queue, with what its head says about that; see ``Keyed``."""

    task_id: bytes
    sealed: bytes
    priority: str
    unique: bytes = b""
    scope: str = ""
    line: bytes = b""

    def __repr__(self) -> str:
        return f"<Renewed {printable(self.task_id)}>"


class PutAside(NamedTuple):
    """An entry of the quarantine; all of it is untrusted, for others may write there too."""

    untrusted_id: bytes
    untrusted_reason: bytes
    untrusted_size: bytes
    untrusted: bytes | int
    entry: bytes
    """Its name in the quarantine: `<ms of the server's clock>-<number>`."""


class InLine(NamedTuple):
    """How a task waits in the line of its key; all of it is untrusted."""

    in_order: bool
    """Whether those of the key run one after the other; else they only take turns with other keys."""
    before: int
    untrusted_first: bytes


class Whereabouts(NamedTuple):
    """Where a task stands; all of it is untrusted."""

    untrusted_run: bytes | None
    lease_left_ms: int
    untrusted_note: bytes | None
    """What it was given back for."""
    workers: int
    priority: int | None
    """The place of its priority among those of the queue, highest first; None if it stands in none."""
    before: int | None
    """How many are before it there; None if it is not among the first of them."""
    due_left_ms: int
    ready: tuple[int, ...]
    """How many are ready in each priority."""
    line: InLine | None = None
    """If it waits in the line of its key."""


class Queueing(NamedTuple):
    """How it looks at a limit; all of it is untrusted."""

    before: int | None
    """How many are before a task in the line; None if it does not stand there."""
    waiting: int
    permits: int
    starts: int
    left_ms: int
    stalled_ms: int
    untrusted_holders: tuple[bytes, ...]


class Scannable(Protocol):
    """Reads everything that a queue holds in small steps, for audits; changes nothing. Raises ``Unavailable``.

    A value over the size limit is told by its size, a name or id that is too long for one is cut. What is moved during
    a scan may be seen twice or not at all.
    """

    async def fixed_keys(self) -> list[StoredKey]:
        """The keys whose names depend on no task and no worker, as far as they exist."""
        ...

    async def other_keys(self, cursor: bytes) -> tuple[bytes, list[StoredKey]]:
        """One step through all other keys of the queue; begins and ends with the cursor b"0"."""
        ...

    async def fields(self, key: bytes, cursor: bytes) -> tuple[bytes, list[StoredField]]:
        """One step through a hash; begins and ends with the cursor b"0"."""
        ...

    async def peek(self, key: bytes, field: bytes | None = None) -> bytes | int | None:
        """One string or one field: its bytes, its size if it is too large, None if it is gone."""
        ...

    async def entries(self, key: bytes, offset: int) -> list[tuple[bytes, bool]]:
        """One page of the ids in a list or index, each with whether its task is stored; empty after the last one."""
        ...

    async def lost_results(self, task_ids: Sequence[bytes]) -> list[bytes]:
        """Those ids whose result is gone although the index says that its time is not over."""
        ...

    async def ends_of(self, task_id: bytes) -> tuple[bytes | int | None, bytes | int | None, bytes | int | None]:
        """What is stored of one task, each as ``peek`` tells it: the task, its failure, its result."""
        ...

    async def put_aside(self, after: bytes) -> tuple[bytes, list[PutAside]]:
        """The next entries of the quarantine after *after* (b"" for the first) and where they end; empty at the end."""
        ...


class Evidence(Protocol):
    """What operators and auditors need beside the tasks: the quarantine, who lives, and the audit log."""

    async def announce(self, process: str, sealed: bytes, ttl_ms: int) -> None:
        """Note that *process* lives, with what it says of itself."""
        ...

    async def forget_gone(self) -> None:
        """Forget the processes that have not been heard of for long."""
        ...

    async def who(self) -> list[tuple[bytes, bytes]]:
        """The processes that live: (untrusted name, untrusted record)."""
        ...

    async def whereabouts(self, task_id: bytes) -> Whereabouts:
        """Where a task stands, and what is before it."""
        ...

    async def replaced_by(self, task_id: bytes, *, waits: bool) -> bytes | None:
        """The (untrusted) id of the call that has taken the place of a task, which *waits* to be dropped or is gone."""
        ...

    async def schedule_of(self, schedule_id: bytes) -> tuple[bytes | int | None, bytes]:
        """A stored schedule (its size if it is too large, None if there is none) and its mark, "" without one."""
        ...

    async def queueing(self, digest: bytes, who: bytes) -> Queueing:
        """Who holds a limit of this partition, and where *who* stands in the line for it."""
        ...

    async def put_aside(self, entry: str) -> PutAside | None:
        """One entry of the quarantine."""
        ...

    async def readmit(self, entry: str, task: Renewed) -> str | bytes:
        """Move an entry of the quarantine back into the queue as a task, at the end of its line if it has one: released,
        known, unknown, or the (untrusted) id of another task of its unique key that counts.
        """
        ...

    async def destroy(self, entry: str) -> bool:
        """Delete an entry of the quarantine; False if there is none."""
        ...

    async def reseal(self, place: Place, untrusted: bytes, sealed: bytes) -> bool:
        """Put *sealed* in the place of *untrusted*; False if it has changed."""
        ...

    async def note(self, records: Sequence[bytes]) -> int:
        """Append to the audit log, and say how long it is. A repetition after a lost reply may append a record twice."""
        ...

    async def notes(self, offset: int) -> list[bytes]:
        """One page of the audit log; empty after the last one."""
        ...

    async def forget_notes(self, count: int, first: bytes) -> int:
        """Take *count* records off the beginning of the audit log, if it begins with *first*."""
        ...
