"""The part of the storage contract that keeps what a task says before its end: its progress, and parts of its result.

All of it is sealed bytes that belong to one run of a task; what another run says takes the place of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from secure_queue.names import printable

MOST_PARTS = 10_000
MOST_PART_BYTES = 64 << 20
"""Of one run together."""


class Report(NamedTuple):
    """What a running task says: a numbered part of its result, or its progress, of which the last one counts."""

    task_id: bytes
    token: bytes
    part: int | None
    """The number of the part; None for progress."""
    sealed: bytes
    ttl_ms: int

    def __repr__(self) -> str:
        return f"<Report {printable(self.task_id)}>"


class Reported(StrEnum):
    """What became of a report."""

    KEPT = "1"
    LEASE_LOST = "0"
    TOO_MUCH = "2"


class ReportStorage(Protocol):
    """The verbs for it."""

    async def report(self, reports: Sequence[Report]) -> list[Reported]:
        """Keep what running tasks say, and tell who waits for it. Raises ``Backpressure`` when the server is full."""
        ...

    async def partial(self, task_id: bytes, first: int, count: int) -> tuple[bytes | None, list[bytes]]:
        """The last progress of a task, and up to *count* parts from number *first* on; nobody has verified them."""
        ...
