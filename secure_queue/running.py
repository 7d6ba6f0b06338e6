"""What a task can ask about the run that it is called for, and how it deals with the time that it has."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Protocol

from secure_queue.errors import SecureQueueError
from secure_queue.settings import positive_seconds
from secure_queue.task_facts import TaskContext
from secure_queue.time_limits import TimeLimits


class RunningTask(Protocol):
    """What can tell the context of a run; it is made only when a task asks for it."""

    limits: TimeLimits | None

    def context(self) -> TaskContext: ...

    def extend_timeout(self, by_s: float) -> float: ...

    @property
    def call(self) -> Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Awaitable[Any]] | None:
        """Calls a function as this run does, of a task that has surroundings."""


current_run: ContextVar[RunningTask] = ContextVar("secure_queue_current_run")
"""The run in whose flow of control the code is."""


class Timed:
    """The part of a registered task that a run of it asks about its time."""

    def extend_timeout(self, by: float | timedelta) -> float:
        """Put the limits of this run off by so many seconds; returns how many are left then until the next of them.

        Together not further than ``max_timeout`` allows; with a limit that has ended the run already, 0 are left. From
        async functions, threads and processes.
        """
        return _run().extend_timeout(positive_seconds("extend_timeout", by))

    def time_left(self) -> float:
        """The seconds until the soft limit of this run, or the hard one if it has no other; endless without limits."""
        limits = _run().limits
        return math.inf if limits is None else limits.left()

    def check_timeout(self) -> None:
        """Raise ``SoftTimeout`` once no time is left; for the loops of sync functions, which cannot be interrupted."""
        limits = _run().limits
        if limits is not None:
            limits.check()

    def soft_limit(self) -> AbstractContextManager[None]:
        """``with task.soft_limit():`` the body of an async task is cancelled at the soft limit, and ``SoftTimeout`` raised.

        The rest of the function goes on, until the hard limit. A task without such a block is cancelled as a whole.
        """
        limits = _run().limits
        return nullcontext() if limits is None else limits.block()


def _run() -> RunningTask:
    run = current_run.get(None)
    if run is None:
        raise SecureQueueError("only a running task has time limits")
    return run
