"""The part of the storage contract that keeps schedules: sealed records, and how far each has been looked at.

A *mark* says how far, and by which rule: ``looked:fired:task id:rule``, times in milliseconds since the epoch; the rule may
be missing. It is a hint that nobody signs: a lie in it may drop or repeat a firing, never make one out of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.names import printable


class Firing(NamedTuple):
    """One firing of a schedule, decided upon the mark *seen*; without an id it only notes how far one has looked."""

    name: bytes
    seen: bytes
    mark: bytes
    moment_ms: int
    sealed_schedule: bytes
    """The stored record that it follows from; empty for a schedule that lives in code."""
    after: bytes
    """The run that must have ended before; empty if runs may overlap."""
    task_id: bytes = b""
    sealed: bytes = b""
    priority: str = ""
    waits: bool = False
    """Whether it waits for the end of the run before instead of being dropped."""

    def __repr__(self) -> str:
        return f"<Firing {printable(self.name)} at {self.moment_ms}>"


class Fired(StrEnum):
    """What became of a firing."""

    FIRED = "fired"
    NOTED = "noted"
    STALE = "stale"
    """Another worker was faster."""
    GONE = "gone"
    """The schedule has been removed or replaced."""
    OVERLAP = "overlap"
    """Dropped: the run before goes on."""
    WAITS = "waits"
    """Not yet: the run before goes on."""
    EARLY = "early"


@dataclass(frozen=True, slots=True)
class Timetable:
    """The schedules of a queue, and how far those that were asked for have been looked at; all of it is untrusted."""

    now_ms: int
    version: bytes
    untrusted_schedules: Mapping[bytes, bytes] | None = field(repr=False)
    """None if they are those of the version that the caller has."""
    untrusted_marks: Sequence[bytes] = ()


class TimetableStorage(Protocol):
    """The verbs; see ``Storage`` for what all of them have in common."""

    async def schedule(
        self, schedule_id: bytes, sealed: bytes, deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> Durability | None:
        """Store or replace a sealed schedule; the level that holds, None if there are too many. Raises ``Backpressure``."""
        ...

    async def unschedule(self, schedule_id: bytes) -> bool:
        """Remove a schedule; False if there is none."""
        ...

    async def timetable(self, version: bytes, names: Sequence[bytes]) -> Timetable:
        """The schedules, unless *version* is still theirs, and the marks of *names*."""
        ...

    async def fire(self, firing: Firing) -> Fired:
        """Enqueue the run of a firing, once however many workers try."""
        ...
