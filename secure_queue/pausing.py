"""Pauses: what workers begin nothing of for some time or until it is resumed, and where that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from secure_queue.names import printable

MOST_PAUSES: Final = 1_000
EVERYTHING: Final = "*"
_PRIORITY, _TASK = "p:", "t:"


@dataclass(frozen=True, slots=True)
class Pause:
    """The whole queue, one priority of it, or one task by name; ``left_s`` is None until it is resumed by hand."""

    priority: str | None = None
    task: str | None = None
    left_s: float | None = None


class Shelving(NamedTuple):
    """A claimed task whose name seems to be paused, and how that pause is written."""

    task_id: bytes
    token: bytes
    what: str

    def __repr__(self) -> str:
        return f"<Shelving {printable(self.task_id)}>"


class Shelved(Enum):
    """What became of it."""

    ASIDE = ord("1")
    OVER = ord("2")
    """It is not paused any more, and stays with its holder."""
    LOST = ord("0")


class PauseStorage(Protocol):
    """The verbs for it."""

    async def pause(self, pauses: Mapping[str, int]) -> bool:
        """Pause each of these for so many milliseconds (0: until it is resumed); False if there are too many already."""
        ...

    async def resume(self, what: str) -> bool:
        """End a pause and bring back what was laid aside for it, in order; False if there was none."""
        ...

    async def shelve(self, priority: str, runs: Sequence[Shelving]) -> list[Shelved]:
        """Lay claimed tasks aside until the end of their pause; the try does not count."""
        ...

    async def untrusted_pauses(self) -> dict[str, int]:
        """What is paused, and for how many milliseconds more (0: until it is resumed)."""
        ...


def spelled(priority: str | None, task: str | None) -> str:
    """How a pause is written in the storage."""
    return _PRIORITY + priority if priority is not None else _TASK + task if task is not None else EVERYTHING


def told(untrusted: Mapping[str, int]) -> list[Pause]:
    """What the storage holds, as far as it is understood."""
    found: list[Pause] = []
    for what, left_ms in sorted(untrusted.items()):
        left_s = left_ms / 1000 if left_ms else None
        if what == EVERYTHING:
            found.append(Pause(left_s=left_s))
        elif what.startswith(_PRIORITY):
            found.append(Pause(priority=what.removeprefix(_PRIORITY), left_s=left_s))
        elif what.startswith(_TASK):
            found.append(Pause(task=what.removeprefix(_TASK), left_s=left_s))
    return found


def paused_tasks(untrusted: Mapping[str, int]) -> frozenset[str]:
    """The names of tasks that are paused by themselves."""
    return frozenset(what.removeprefix(_TASK) for what in untrusted if what.startswith(_TASK))
