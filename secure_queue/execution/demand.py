"""How many tasks to claim next: enough to keep the seats busy, no more than can be started soon."""

from __future__ import annotations

import math

LARGEST_CLAIM = 500
HORIZON_S = 0.05  # work for so long may lie ready here; a few round trips to the server
SMOOTHING = 0.3
MEMORY_S = 0.5  # what was longer ago says nothing about now


class Pace:
    """The rate at which this worker finishes tasks, smoothed."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._finished = 0
        self._at_s = 0.0

    def note(self, finished: int, now_s: float) -> None:
        """At the second *now_s* this worker has finished *finished* tasks in all."""
        elapsed_s = now_s - self._at_s
        if elapsed_s > 0:
            weight = max(SMOOTHING, 1 - math.exp(-elapsed_s / MEMORY_S))
            self.per_second += weight * ((finished - self._finished) / elapsed_s - self.per_second)
        self._finished, self._at_s = finished, now_s

    def slow_down(self, per_second: float) -> None:
        """Believe a slower pace at once; a faster one is learned by and by."""
        self.per_second = min(self.per_second, per_second)


def ahead(prefetch: int | None, pace: Pace) -> int:
    """How many tasks may lie ready beyond the free seats: a fixed *prefetch*, or by the measured pace."""
    return prefetch if prefetch is not None else int(pace.per_second * HORIZON_S)


def demand(free_seats: int, waiting: int, allowance: int) -> int:
    """How many tasks to claim: free seats and allowance, less what waits here already."""
    return max(0, min(LARGEST_CLAIM, free_seats + allowance - waiting))
