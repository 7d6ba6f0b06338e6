"""Runs sync functions in threads, never more than so many at once.

Python cannot stop a thread. A function that outlives its timeout goes on, and keeps its place until it ends: a limit of one
means that the function never runs twice at once. When every place is taken by such functions, further ones are turned
away, so that other workers can run them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

_UNLIMITED = float("inf")


class NoThread(Exception):
    """No thread will be free: the worker stops, or all are taken by functions that outlived their timeouts."""


class _Job:
    """One call in a thread; the exception is carried as a value, because not every one survives a future."""

    def __init__(self, fn: Callable[[], Any]) -> None:
        self._fn = fn
        self.over = anyio.Event()
        self.left_behind = False
        self.value: Any = None
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self._fn()
        except BaseException as error:
            self.problem = error


class Threads:
    """At most *limit* calls at once; they live in the task group that ``serve`` was given."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places = anyio.CapacityLimiter(limit)
        self._unlimited = anyio.CapacityLimiter(_UNLIMITED)
        self._waiting: set[anyio.CancelScope] = set()
        self._closed = False
        self._group: TaskGroup | None = None
        self.left_behind = 0
        """How many functions go on although nobody waits for them any more."""

    def serve(self, group: TaskGroup) -> None:
        """From now on calls are possible; the end of *group* leaves every thread behind."""
        self._group = group

    def close(self) -> None:
        """Turn away who waits for a thread, and everybody who comes."""
        self._closed = True
        self._turn_away()

    async def call(self, fn: Callable[[], Any], on_start: Callable[[], None]) -> Any:
        """Wait for a place, call *on_start*, and give what *fn* returns or raises in its thread; raises ``NoThread``."""
        job = _Job(fn)
        await self._start(job)
        on_start()
        try:
            await job.over.wait()
        finally:
            if not job.over.is_set():
                self._leave_behind(job)
        if job.problem is None:
            return job.value
        try:
            raise job.problem
        finally:
            job.problem = None  # else the exception and this frame would keep each other alive

    async def _start(self, job: _Job) -> None:
        if self._group is None or self._closed or self.left_behind >= self._limit:
            raise NoThread
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await self._group.start(self._work, job)
                return
            finally:
                self._waiting.discard(scope)
        raise NoThread

    async def _work(self, job: _Job, *, task_status: TaskStatus[None]) -> None:
        async with self._places:
            task_status.started()
            await anyio.to_thread.run_sync(job.run, abandon_on_cancel=True, limiter=self._unlimited)
        job.over.set()
        self.left_behind -= job.left_behind

    def _leave_behind(self, job: _Job) -> None:
        job.left_behind = True
        self.left_behind += 1
        if self.left_behind >= self._limit:
            self._turn_away()

    def _turn_away(self) -> None:
        for scope in self._waiting:
            scope.cancel()
