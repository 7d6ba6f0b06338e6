"""What the processes of a case write down, one line for each event, and how that is read back while they run.

A line is one short write in append mode: what was written stays, also when the process is killed in the next moment.
Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import NamedTuple


class Entry(NamedTuple):
    """One event: its name, its time, and the words that belong to it."""

    event: str
    at: float
    facts: tuple[str, ...]


class Ledger:
    """The pen of one process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, event: str, *facts: object) -> None:
        """Write one line."""
        os.write(self._file, " ".join((event, f"{monotonic():.4f}", *map(str, facts))).encode() + b"\n")

    def close(self) -> None:
        """Put the pen down."""
        os.close(self._file)


class Reader:
    """Follows one ledger as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._read = 0

    def refresh(self) -> list[Entry]:
        """Everything written so far; a line that is not yet whole is left for the next time."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole, _, _ = file.read().rpartition(b"\n")
            if whole:
                self._read += len(whole) + 1
                self.entries += map(_entry, whole.decode().splitlines())
        return self.entries

    def has(self, event: str) -> bool:
        """Whether *event* has been written."""
        return any(entry.event == event for entry in self.refresh())

    def count(self, event: str) -> int:
        """How often *event* has been written."""
        return sum(entry.event == event for entry in self.refresh())


def _entry(line: str) -> Entry:
    event, at, *facts = line.split(" ")
    return Entry(event, float(at), tuple(facts))
