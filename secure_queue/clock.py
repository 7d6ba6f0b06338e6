"""The only place that asks what time it is.

Wall-clock milliseconds go into envelopes and are compared across machines; monotonic seconds measure durations inside
one process. Decisions about leases and due times are made by the server's clock inside the scripts, not here.
"""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since the Unix epoch, by this machine's wall clock."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds on a clock that never jumps; only differences mean something."""
    return time.perf_counter()
