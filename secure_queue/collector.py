"""The garbage collector of a process that does nothing but run tasks."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

YOUNGEST = 10_000
"""So many objects more than were freed begin a collection: tasks in flight are mostly gone by then, unexamined."""


@contextmanager
def calm_collector() -> Iterator[None]:
    """Collect less often, and leave out what was there before; as it was afterwards.

    A full collection examines every module and class of the application, which stops the event loop for 0.1 seconds,
    and cannot find anything there. What tasks leave behind is still collected. Nothing is changed in a process that
    has settled this for itself: one that switched the collector off, or froze objects, or runs this beside its main thread.
    """
    before = gc.get_threshold()
    is_ours = threading.current_thread() is threading.main_thread() and not gc.get_freeze_count()
    if not is_ours or not gc.isenabled() or not 0 < before[0] < YOUNGEST:
        yield
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
