"""When a worker has done enough, and a fresh process should take its place."""

from __future__ import annotations

import os
from pathlib import Path

from secure_queue.execution.runs import Desk

STATM = Path("/proc/self/statm")


class Recycling:
    """After as many tasks as the desk may take in, or with so much memory; None: never."""

    def __init__(self, desk: Desk, most_mib: int | None) -> None:
        self._desk = desk
        self._most_mib = most_mib

    @property
    def is_due(self) -> bool:
        """Whether it is time."""
        done = self._desk.most is not None and self._desk.processed >= self._desk.most
        return done or (self._most_mib is not None and memory_mib() > self._most_mib)


def memory_mib() -> float:
    """How much memory this process has now; where the system does not say that, how much it has had at most."""
    try:
        return int(STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError):
        return _peak_mib()


def _peak_mib() -> float:
    try:
        import resource
        import sys
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
