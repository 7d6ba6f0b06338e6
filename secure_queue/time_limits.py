"""The limits of one try: when the task is told that its time is up, when it is ended, and how far both can be put off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from secure_queue.clock import monotonic
from secure_queue.errors import SoftTimeout

MOST_TIMES: Final = 10
"""So many times its own length a limit can be put off, if the task does not say how far."""


class TimeLimits:
    """The limits of a try that begins now; None where there is none.

    The soft one cancels the innermost part of the task that asked for it (``block``), so that the rest can tidy up.
    """

    def __init__(self, timeout_s: float | None, soft_s: float | None, longest_s: float | None) -> None:
        now = monotonic()
        first = timeout_s if timeout_s is not None else soft_s if soft_s is not None else math.inf
        self.hard_at = math.inf if timeout_s is None else now + timeout_s
        self.soft_at = math.inf if soft_s is None else now + soft_s
        self._latest = now + (MOST_TIMES * first if longest_s is None else longest_s)
        self._stopped_at: float | None = None
        self._told = False
        self._blocks: dict[anyio.CancelScope, bool] = {}

    @property
    def next_at(self) -> float:
        """The soft limit, or the hard one if that comes first."""
        return min(self.soft_at, self.hard_at)

    def left(self) -> float:
        """The seconds until then; endless without limits."""
        return max(0.0, self.next_at - self._now())

    def soft_left(self) -> float:
        """The seconds until the soft limit; endless without one."""
        return max(0.0, self.soft_at - self._now())

    def hard_left(self) -> float:
        """The seconds until the hard limit; endless without one."""
        return max(0.0, self.hard_at - self._now())

    def rest(self) -> tuple[float | None, float | None, float]:
        """What is left until the hard limit, until the soft one, and as far as they can be put off."""
        now = self._now()
        hard, soft = (None if at == math.inf else max(0.0, at - now) for at in (self.hard_at, self.soft_at))
        return hard, soft, self._latest - now

    def stop(self) -> None:
        """Let no time pass until ``go_on``."""
        if self._stopped_at is None:
            self._stopped_at = monotonic()
            self._arm()

    def go_on(self) -> None:
        """Let time pass again."""
        if self._stopped_at is not None:
            passed, self._stopped_at = monotonic() - self._stopped_at, None
            self.hard_at, self.soft_at, self._latest = (
                at + passed for at in (self.hard_at, self.soft_at, self._latest)
            )
            self._arm()

    def _now(self) -> float:
        return monotonic() if self._stopped_at is None else self._stopped_at

    def check(self) -> None:
        """Raise ``SoftTimeout`` once that moment has passed."""
        if self._now() >= self.next_at:
            raise SoftTimeout

    def extend(self, by_s: float) -> float:
        """Put both limits off, as far as is allowed; say by how many seconds that was."""
        last = self.hard_at if self.hard_at < math.inf else self.soft_at
        if last == math.inf:
            return 0.0
        by_s = max(0.0, min(by_s, self._latest - last))
        self.hard_at += by_s
        self.soft_at += by_s
        self._told = self._told and not by_s
        self._arm()
        return by_s

    @contextmanager
    def block(self, *, outermost: bool = False) -> Iterator[None]:
        """Cancel the body at the soft limit and raise ``SoftTimeout`` then; the *outermost* one gives way to all others."""
        with anyio.CancelScope() as scope:
            self._blocks[scope] = outermost
            self._arm()
            try:
                yield
            finally:
                del self._blocks[scope]
                self._told = self._told or scope.cancel_called
                self._arm()
        if scope.cancelled_caught:
            raise SoftTimeout

    def _arm(self) -> None:
        """The outermost block is cancelled only if the task has no block of its own, and was not told already."""
        others = not all(self._blocks.values())
        for scope, outermost in self._blocks.items():
            gives_way = outermost and (others or self._told)
            is_off = gives_way or self._stopped_at is not None
            left_s = math.inf if is_off else self.soft_at - monotonic()
            scope.deadline = anyio.current_time() + left_s
