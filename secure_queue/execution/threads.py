"""Runs sync functions in threads, never more than so many at once.

Python cannot stop a thread. A function that outlives its timeout goes on, and keeps its place until it ends: a limit of one
means that the function never runs twice at once. As many calls as there are places may wait for one; further ones are
turned away, so that other workers can run them, unless the worker is *patient*: it shall leave nothing. All are turned away
when every place is taken by functions that do not end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from secure_queue.execution.calls import NoThread, Raised

_UNLIMITED = float("inf")

_log = logging.getLogger("secure_queue.worker")


class _Job:
    """One call in a thread."""

    def __init__(self, fn: Callable[[], Any], on_start: Callable[[], None]) -> None:
        self._fn = fn
        self.on_start = on_start
        self.patience = anyio.CancelScope()
        self.over = anyio.Event()
        self.began = False
        self.left_behind = False
        self.value: Any = None
        self.problem: BaseException | None = None

    def run(self) -> None:
        self.began = True
        try:
            self.value = self._fn()
        except BaseException as error:
            self.problem = error


class Threads:
    """At most *limit* calls at once; they live in the task group that ``serve`` was given."""

    def __init__(self, limit: int, *, patient: bool = False) -> None:
        self._limit = limit
        self._most = math.inf if patient else 2 * limit
        self._places = anyio.CapacityLimiter(limit)
        self._unlimited = anyio.CapacityLimiter(_UNLIMITED)
        self._waiting: set[_Job] = set()
        self._inside = 0  # calls that wait for a place or have one
        self.closed = False
        """Whether everybody is turned away, because the worker stops."""
        self._group: TaskGroup | None = None
        self.left_behind = 0
        """How many functions go on although nobody waits for them any more."""

    def serve(self, group: TaskGroup) -> None:
        """From now on calls are possible; the end of *group* leaves every thread behind."""
        self._group = group

    def close(self) -> None:
        """Turn away who waits for a thread, and everybody who comes."""
        self.closed = True
        self._turn_away()

    async def call(self, fn: Callable[[], Any], on_start: Callable[[], None]) -> Any:
        """Wait for a place and give what *fn* returns in its thread; raises ``Raised`` and ``NoThread``.

        *on_start* is called when there is a place; what it raises is raised, and *fn* is not called.
        """
        job = _Job(fn, on_start)
        await self._start(job)
        try:
            await job.over.wait()
        finally:
            if not job.over.is_set():
                self._leave_behind(job)
        if not job.began:
            raise NoThread
        if job.problem is not None:
            raise Raised(job.problem)
        return job.value

    async def _start(self, job: _Job) -> None:
        full = self.left_behind >= self._limit or self._inside >= self._most
        if self._group is None or self.closed or full:
            raise NoThread
        self._inside += 1
        self._waiting.add(job)
        placed = False
        try:
            with job.patience:
                await self._group.start(self._work, job)
                placed = True
        finally:
            self._waiting.discard(job)
            self._inside -= not placed
        if not placed:
            raise NoThread

    async def _work(self, job: _Job, *, task_status: TaskStatus[None]) -> None:
        async with self._places:
            job.on_start()
            task_status.started()
            try:
                await anyio.to_thread.run_sync(job.run, abandon_on_cancel=True, limiter=self._unlimited)
            except RuntimeError as error:
                _log.error("no thread for a sync task: %s", error)
        job.over.set()
        self._inside -= 1
        self.left_behind -= job.left_behind

    def _leave_behind(self, job: _Job) -> None:
        job.left_behind = True
        self.left_behind += 1
        if self.left_behind >= self._limit:
            self._turn_away()

    def _turn_away(self) -> None:
        for job in self._waiting:
            job.patience.cancel()
