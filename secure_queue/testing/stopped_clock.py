"""A clock that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from secure_queue.clock import now_ms, wall_clock
from secure_queue.errors import ConfigurationError
from secure_queue.settings import positive_seconds


class StoppedClock:
    """The time of the library and of ``memory://``, for the whole process, while ``in_force``.

    It begins at *now* (an aware datetime; None: the real time) and goes forward only. What an application asks of the
    system itself (``datetime.now``) is not changed, and neither are timeouts, of waiting calls and of running tasks.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._now_ms = now_ms() if now is None else _moment_ms(now)

    @property
    def now(self) -> datetime:
        """What time it is."""
        return datetime.fromtimestamp(self._now_ms / 1000, UTC)

    @property
    def now_ms(self) -> int:
        """The same in milliseconds since the epoch."""
        return self._now_ms

    def move(self, delta: float | timedelta | None = None, **units: float) -> None:
        """Put the clock forward: by seconds, a timedelta, or what makes one (``hours=1``). Nothing runs because of that."""
        self.move_to_ms(self._now_ms + duration_ms(delta, units))

    def move_to(self, moment: datetime) -> None:
        """Put the clock forward to an aware datetime."""
        self.move_to_ms(_moment_ms(moment))

    def move_to_ms(self, moment_ms: int) -> None:
        """Put the clock forward to a moment in milliseconds; raises ``ConfigurationError`` if that has passed."""
        if moment_ms < self._now_ms:
            raise ConfigurationError(f"the clock stands at {self.now} and goes forward only; start it earlier (now=)")
        self._now_ms = moment_ms

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let this clock say what time it is."""
        with wall_clock(lambda: self._now_ms * 1_000_000):
            yield


def duration_ms(delta: float | timedelta | None, units: dict[str, float]) -> int:
    """Seconds, a timedelta, or what makes one, in milliseconds.

    Raises ``ConfigurationError`` for none, both, or another unit.
    """
    if (delta is None) == (not units):
        raise ConfigurationError("say how far: seconds, a timedelta, or units like hours=1, minutes=30")
    if delta is not None:
        return round(positive_seconds("the way of a clock", delta, zero=True) * 1000)
    try:
        return round(timedelta(**units).total_seconds() * 1000)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(
            f"no such unit of time, or no such number of it: {', '.join(units)}; use those of timedelta, for example hours=1"
        ) from None


def _moment_ms(moment: datetime) -> int:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ConfigurationError("a moment is an aware datetime, for example datetime(2030, 1, 1, tzinfo=UTC)")
    return round(moment.timestamp() * 1000)
