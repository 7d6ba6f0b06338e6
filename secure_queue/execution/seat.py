"""A seat: runs one task after the other inside a cancel scope, which is made anew only when a run was interrupted.

A scope of its own for each run would cost more than everything else that is done for a short task.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import Any

import anyio
from anyio import current_effective_deadline
from anyio.lowlevel import checkpoint

from secure_queue.clock import monotonic
from secure_queue.execution.executor import Executor
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.settling import Settling
from secure_queue.tasks import TaskContext, current_run
from secure_queue.time_limits import TimeLimits

FAULT_DELAY_MS = 5_000
BREATH_S = 0.002
"""How long seats may run short tasks before everybody else on the event loop gets a turn."""

_log = logging.getLogger("secure_queue.worker")


class Breath:
    """When somebody on the loop last paused; all seats share one."""

    def __init__(self) -> None:
        self.due = 0.0

    async def take(self) -> None:
        """Pause if it is time; the seat that does so pauses for all."""
        now = monotonic()
        if now >= self.due:
            self.due = now + BREATH_S
            await checkpoint()


class _Nobody:
    """Stands for the run between two runs."""

    call = None
    limits: TimeLimits | None = None

    def context(self) -> TaskContext:
        raise LookupError

    def extend_timeout(self, by_s: float) -> float:
        raise LookupError


NOBODY = _Nobody()


class Seat:
    """Takes runs from the desk until it is cancelled."""

    def __init__(self, desk: Desk, executor: Executor, settling: Settling, breath: Breath) -> None:
        self._desk = desk
        self._executor = executor
        self._settling = settling
        self._breath = breath
        self._run: Run | None = None
        self._clean = copy_context()
        self._task: asyncio.Task[Any] | None = None

    async def work(self) -> None:
        """Work until a task has left context variables behind; when cancelled in the middle of a run, hand it back."""
        current_run.set(NOBODY)
        self._clean = copy_context()
        self._task = _asyncio_task()
        try:
            while True:
                with anyio.CancelScope() as scope:
                    await self._work_in(scope)
                self._after_interruption()
                if self._is_stained():
                    return
        finally:
            if self._run is not None:
                self._settling.hand_back(self._run)
                self._desk.seated -= 1

    async def _work_in(self, scope: anyio.CancelScope) -> None:
        while not scope.cancel_called:
            run = await self._desk.take()
            if run.interruption is not None:
                self._settling.decline(run)
                self._desk.seated -= 1
                continue
            self._run, run.scope = run, scope
            await self._execute(run)
            self._run, run.scope = None, None
            self._desk.seated -= 1
            if self._task is not None and self._task.cancelling():
                await self._shake_off_cancellations(self._task)
            if self._is_stained():
                return
            if run.settings.timeout_s is not None:
                scope.deadline = float("inf")
            await self._breath.take()

    def _is_stained(self) -> bool:
        """Whether a task has changed a context variable: the next one, of another tenant perhaps, must not see it."""
        current_run.set(NOBODY)
        try:
            return copy_context() != self._clean
        except Exception:  # a value that cannot even be compared
            return True

    async def _execute(self, run: Run) -> None:
        try:
            await self._executor.execute(run)
        except Exception:
            # A fault of ours, met by some task: it must not take the seat, and with it the worker, down.
            _log.exception("a run failed inside the worker; it is tried again")
            self._settling.try_again(run, FAULT_DELAY_MS)

    async def _shake_off_cancellations(self, task: asyncio.Task[Any]) -> None:
        """Forget cancellations that a run aimed at itself: the seat would be taken for cancelled later (asyncio only)."""
        if current_effective_deadline() == float("-inf"):
            return
        try:
            await checkpoint()  # one that has not been delivered yet comes here
        except asyncio.CancelledError:
            if current_effective_deadline() == float("-inf"):
                raise
        while task.cancelling():
            task.uncancel()

    def _after_interruption(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        if run.opened is not None:
            self._executor.interrupted(run)
        else:
            self._settling.hand_back(run)
        self._desk.seated -= 1


def _asyncio_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # another event loop
        return None
