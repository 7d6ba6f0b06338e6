"""From the number of tries to the delay before the next one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from secure_queue.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff: ``base * factor ** (tries - 1)`` seconds, at most ``cap``, spread by ``jitter``.

    ``jitter`` 0.5 means a random delay between 50 % and 100 % of the computed one, so that tasks which failed together
    do not come back together.
    """

    base: float = 1.0
    factor: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        numbers = (self.base, self.factor, self.cap, self.jitter)
        positive = all(isinstance(one, (int, float)) and one >= 0 for one in numbers)
        if not positive or self.factor < 1 or self.jitter > 1:
            raise ConfigurationError("a retry policy needs base >= 0, factor >= 1, cap >= 0 and jitter from 0 to 1")

    def __call__(self, tries: int) -> float:
        """Seconds to wait after the try number *tries* (1 is the first) has failed."""
        try:
            whole = min(self.cap, self.base * self.factor ** max(tries - 1, 0))
        except OverflowError:
            whole = self.cap
        return whole * (1 - self.jitter * random.random())  # noqa: S311 - spreads load, keeps no secret


DEFAULT_POLICY = RetryPolicy()
"""What a task has that asks for nothing else."""

Backoff: TypeAlias = Callable[[int], float | timedelta]
"""A retry policy: any callable from the number of tries to seconds (or a timedelta)."""


def seconds(duration: float | timedelta, name: str = "a duration") -> float:
    """A duration given in seconds or as a timedelta, in seconds; raises ``ConfigurationError`` for anything else."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise ConfigurationError(f"{name} is a number of seconds or a timedelta, not {type(duration).__name__}")
    if duration != duration:
        raise ConfigurationError(f"{name} is a number of seconds or a timedelta, not nan")
    try:
        return float(duration)
    except OverflowError:  # a whole number beyond all floats
        return math.inf if duration > 0 else -math.inf
