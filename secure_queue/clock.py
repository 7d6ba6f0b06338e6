"""The only place that asks what time it is.

Wall-clock milliseconds go into envelopes and are compared across machines; monotonic seconds measure durations inside
one process. Decisions about leases and due times are made by the server's clock inside the scripts, not here; the
server of ``memory://`` is in this process and reads this wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_wall_ns: Callable[[], int] = time.time_ns


def now_ms() -> int:
    """Milliseconds since the Unix epoch, by this machine's wall clock."""
    return _wall_ns() // 1_000_000


def monotonic() -> float:
    """Seconds on a clock that never jumps; only differences mean something."""
    return time.perf_counter()


@contextmanager
def wall_clock(read_ns: Callable[[], int]) -> Iterator[None]:
    """Let *read_ns* say what time it is, in nanoseconds since the epoch, for the whole process: for tests."""
    global _wall_ns
    before, _wall_ns = _wall_ns, read_ns
    try:
        yield
    finally:
        _wall_ns = before
