"""What this worker has finished lately, so that a task that is presented again is answered and not run.

The memory is bounded by count and bytes and made of two halves: when the younger one is full, the older one is forgotten.
What has expired needs no memory, for it is refused before anybody looks here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from secure_queue.storage import End

MOST_IDS: Final = 100_000
MOST_BYTES: Final = 8 << 20


class Finished:
    """The message ids of finished tasks, and their sealed results as far as there is room for them."""

    def __init__(self, most_ids: int = MOST_IDS, most_bytes: int = MOST_BYTES) -> None:
        self._half_ids, self._half_bytes = most_ids // 2, most_bytes // 2
        self._younger: set[bytes] = set()
        self._older: set[bytes] = set()
        """The ids of the messages that this worker has finished, in two halves: every task is looked up there."""
        self._ends: dict[bytes, End] = {}
        self._older_ends: dict[bytes, End] = {}
        self._bytes = 0

    def note(self, ended: Iterable[tuple[bytes, End]]) -> None:
        """Remember tasks whose results were written."""
        for jti, end in ended:
            if len(self._younger) >= self._half_ids:
                self._older, self._younger = self._younger, set()
            if self._bytes >= self._half_bytes:
                self._older_ends, self._ends, self._bytes = self._ends, {}, 0
            self._younger.add(jti)
            self._ends[jti] = end
            self._bytes += len(end.sealed) + (len(end.keep) if type(end.keep) is bytes else 0)

    def knows(self, jti: bytes) -> bool:
        """Whether this worker has finished that very message."""
        return jti in self._younger or jti in self._older

    def end_of(self, jti: bytes) -> End | None:
        """How it ended, if that is still remembered."""
        return self._ends.get(jti) or self._older_ends.get(jti)
