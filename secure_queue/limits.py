"""Limits of tasks: how many may run at once, how many may start in some time, over all workers together. Pure values.

A limit counts for all calls of a task together, or for each key by itself, which a worker works out from the verified
arguments: who enqueues a task does not choose it. In the storage a limit is known by a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias

from secure_queue.errors import ConfigurationError
from secure_queue.spelling import canonical

Key: TypeAlias = Callable[..., Any]
MOST: Final = 1_000_000
MOST_STARTS: Final = 100_000
"""Each of the latest starts is remembered."""
LONGEST_S: Final = 31 * 86_400
RANK_WIDTH: Final = 10**12
"""So many may come of one priority while a line lasts."""
_RECENT_MS: Final = 1_767_225_600_000
"""Moments are counted from 2026 on, which leaves a score more digits for those of one millisecond."""
FIRST_LOOK_MS, LOOK_PER_PLACE_MS, LAST_LOOK_MS = 5_000, 10, 600_000


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """No more than *most* run at once, in all workers together; with *key* that many for each key.

    *key* is called with the arguments of the task and returns a text, a number, a UUID, a date, or what else can be a key
    (docs/control.md); for None the limit does not count. Limits of one *name* are one limit, whichever task has them.
    """

    most: int
    _: KW_ONLY
    key: Key | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        _check("ConcurrencyLimit", self.most, MOST, self.key, self.name)

    def __str__(self) -> str:
        return _told(f"at most {self.most} at once", self.key, self.name)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """No more than *most* start within any *per* seconds, in all workers together; *key* and *name* as above.

    They may start all at once; who comes when they have is given the moment when a start is free again.
    """

    most: int
    per: float | timedelta
    _: KW_ONLY
    key: Key | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        _check("RateLimit", self.most, MOST_STARTS, self.key, self.name)
        if isinstance(self.per, bool) or not isinstance(self.per, (int, float, timedelta)):
            raise ConfigurationError(
                "per= of a RateLimit is in seconds or a timedelta, for example RateLimit(100, per=60)"
            )
        if not 0.001 <= self.per_s <= LONGEST_S:
            raise ConfigurationError("per= of a RateLimit must be from a millisecond to 31 days")

    @property
    def per_s(self) -> float:
        """The time in seconds."""
        return self.per.total_seconds() if isinstance(self.per, timedelta) else self.per

    @property
    def per_ms(self) -> int:
        """The time in milliseconds."""
        return max(1, round(self.per_s * 1000))

    def __str__(self) -> str:
        return _told(f"at most {self.most} in {self.per_s:g} s", self.key, self.name)


Limit: TypeAlias = ConcurrencyLimit | RateLimit


def limits_of(given: Limit | Sequence[Limit]) -> tuple[Limit, ...]:
    """One limit or several; raises ``ConfigurationError`` for anything else, and if two of them do not agree."""
    listed = tuple(given) if isinstance(given, Sequence) else (given,)
    if not all(isinstance(limit, (ConcurrencyLimit, RateLimit)) for limit in listed):
        raise ConfigurationError(
            "limits= takes limits, for example limits=[ConcurrencyLimit(5), RateLimit(100, per=60)]"
        )
    must_agree(listed)
    return listed


def must_agree(limits: Iterable[Limit]) -> None:
    """Raise ``ConfigurationError`` if two limits of one kind and name, which are one limit, have different numbers."""
    known: dict[tuple[type, str], Limit] = {}
    for limit in limits:
        if limit.name is not None:
            first = known.setdefault((type(limit), limit.name), limit)
            if _numbers(first) != _numbers(limit):
                raise ConfigurationError(
                    f"two limits are named {limit.name!r} and are therefore one, but say different numbers; give both the "
                    "same ones, or other names"
                )


def _numbers(limit: Limit) -> tuple[float, ...]:
    return (limit.most, limit.per_s) if isinstance(limit, RateLimit) else (limit.most,)


def digest_of(limit: Limit, scope: str, key: object = None) -> bytes:
    """How a limit is known in the storage, of its *scope* unless it has a name, and of a *key* if it has one."""
    kind = "rate" if isinstance(limit, RateLimit) else "permit"
    return digest((kind, "=" + limit.name if limit.name is not None else "/" + scope, key))


def digest(parts: object) -> bytes:
    """A digest of a value that has one spelling."""
    return hashlib.blake2b(canonical(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest().encode()


def rank_of(priority: int, *, due_ms: int, ageing_ms: int) -> tuple[int, int]:
    """Where a task stands in a line, with the number of its *priority* (0 the highest): from, and how wide that is.

    With ageing the oldest goes first, where each priority counts as some age; else all of a higher priority do.
    """
    if ageing_ms:
        return due_ms + priority * ageing_ms - _RECENT_MS, 1
    return priority * RANK_WIDTH, RANK_WIDTH


def look_ms(before: int) -> int:
    """After how long somebody in a line looks whether it was forgotten, with so many *before* it; its turn is told it."""
    return min(FIRST_LOOK_MS + LOOK_PER_PLACE_MS * before, LAST_LOOK_MS)


def _check(what: str, most: object, greatest: int, key: object, name: object) -> None:
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= greatest:
        raise ConfigurationError(f"a {what} is a whole number from 1 to {greatest:,}, not {most!r}")
    if key is not None and not callable(key):
        raise ConfigurationError(
            f"key= of a {what} is a function of the arguments, for example key=lambda user, **_: user"
        )
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigurationError(f"name= of a {what} is a text that is not empty")


def _told(rule: str, key: Key | None, name: str | None) -> str:
    return f"{rule}{' for each key' if key is not None else ''}{f' ({name})' if name is not None else ''}"
