"""What a key is for: the one place that a scoped key was derived for, and what the holder of an Ed25519 key may sign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from secure_queue.payload.ciphers import Suite
from secure_queue.payload.purposes import Purpose


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a key counts that was derived from a root: one queue, or one suite and purpose in it."""

    key_id: bytes
    """That of the root."""
    queue: str
    suite: Suite | None = None
    purpose: Purpose | None = None

    def covers(self, queue: bytes, suite: int, purpose: int) -> bool:
        """Whether the key can be used there at all."""
        return queue == self.queue.encode() and self.suite in (None, suite) and self.purpose in (None, purpose)


@dataclass(frozen=True, slots=True)
class Grants:
    """What the holder of an Ed25519 key may sign; in the names of queues and functions ``*`` stands for anything."""

    purposes: frozenset[Purpose] = frozenset(Purpose)
    queues: tuple[str, ...] = ("*",)
    functions: tuple[str, ...] = ("*",)
    not_after_ms: int | None = None

    def permit_place(self, purpose: int, queue: str) -> bool:
        """Whether messages of this purpose in this queue may be signed."""
        return purpose in self.purposes and matches(self.queues, queue)

    def permit_message(self, function: str, now_ms: int) -> bool:
        """Whether messages for this function may be signed, and still count now."""
        in_time = self.not_after_ms is None or now_ms <= self.not_after_ms
        return in_time and matches(self.functions, function)


EVERYTHING: Final = Grants()


@dataclass(frozen=True, slots=True)
class Reach:
    """Everything that a key could sign: by which suites, for which purposes, in which queues."""

    suites: frozenset[Suite]
    purposes: frozenset[Purpose]
    queues: tuple[str, ...]

    def overlaps(self, other: Reach) -> bool:
        """Whether both could sign the same message, so that it would be open which of them does.

        A message is encrypted or it is not, so a key that encrypts stands beside one that only signs. Queues are
        compared by name; a pattern might name any.
        """
        ways, others = ({suite is Suite.AES_256_GCM for suite in each.suites} for each in (self, other))
        anywhere = any("*" in queue for queue in (*self.queues, *other.queues))
        same_queue = anywhere or not set(self.queues).isdisjoint(other.queues)
        return same_queue and not ways.isdisjoint(others) and not self.purposes.isdisjoint(other.purposes)


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether one of *patterns* names *name*; in them ``*`` stands for anything and all else for itself."""
    return _compiled(tuple(patterns)).fullmatch(name) is not None


@lru_cache(maxsize=1024)  # by patterns, which come from the key file; nothing that a message says is kept
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(".*".join(re.escape(part) for part in each.split("*")) for each in patterns), re.DOTALL)
