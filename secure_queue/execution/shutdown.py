"""Signals: the first one asks a worker to stop in peace, the second one to stop now. The only place that knows signals."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

_log = logging.getLogger("secure_queue.worker")


def can_handle_signals() -> bool:
    """Whether signals can be received here: in the main thread, on a system that has them."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGTERM")


async def on_signals(
    drain: Callable[[], None], stop: Callable[[], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call *drain* at the first SIGINT or SIGTERM and *stop* at every further one."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        act = drain
        async for number in signals:
            _log.info("received %s", signal.Signals(number).name)
            act()
            act = stop
