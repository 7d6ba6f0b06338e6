"""``Router``: tasks and schedules of a module, which a worker object takes in; it needs no queue of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta, tzinfo
from typing import Any, TypeVar, cast

from secure_queue.composition import Composition
from secure_queue.declare import Declarations
from secure_queue.errors import ConfigurationError
from secure_queue.reasons import Explanation
from secure_queue.tasks import Task, TaskInfo, TaskResult, TaskStatus

R = TypeVar("R")


class Router(Composition):
    """Declares tasks (``task``, ``stub``, ``cron``, …) that run as soon as a worker object includes it.

    *tz* is the time zone of its schedules, else it is that of the worker. *routers* and *tasks* are what it takes in itself.
    """

    def __init__(
        self, *, tz: str | tzinfo | None = None, routers: Sequence[Composition | str] = (), tasks: Sequence[Any] = ()
    ) -> None:
        super().__init__()
        self.read_zone(tz)
        self.compose(routers, tasks)

    @property
    def context(self) -> Any:
        """What the lifespan of the worker yielded that runs these tasks."""
        return cast("Any", self.worker()).context

    def worker(self, queue: str | None = None) -> Declarations:
        """The worker object, of *queue*, that has included this router; raises ``ConfigurationError`` if there is none."""
        found = super().worker(queue)
        if isinstance(found, Router):
            raise ConfigurationError("no worker object has included this router; worker.include(router) does it")
        return found

    # What handles need of their worker object

    def generated_id(self, jti: bytes) -> str:
        """See ``Worker``."""
        return self.worker().generated_id(jti)

    async def enqueue_many(self, tasks: Iterable[Task[Any]]) -> None:
        """See ``Worker``."""
        await self.worker().enqueue_many(tasks)

    async def result_of(self, task: Task[R], timeout: float | timedelta | None) -> TaskResult[R]:
        """See ``Worker``."""
        return await self.worker().result_of(task, timeout)

    async def status_of(self, task: Task[Any]) -> TaskStatus:
        """See ``Worker``."""
        return await self.worker().status_of(task)

    async def info_by_id(self, task_id: str) -> TaskInfo | None:
        """See ``Worker``."""
        return await self.worker().info_by_id(task_id)

    async def explain_by_id(self, task_id: str) -> Explanation:
        """See ``Worker``."""
        return await self.worker().explain_by_id(task_id)

    async def abort_by_id(self, task_id: str, timeout: float | timedelta = 5) -> bool:
        """See ``Worker``."""
        return await self.worker().abort_by_id(task_id, timeout)

    async def report(self, progress: Any) -> None:
        """See ``Worker``."""
        await self.worker().report(progress)

    async def progress_of(self, task: Task[Any]) -> Any:
        """See ``Worker``."""
        return await self.worker().progress_of(task)

    def reports_of(self, task: Task[Any], parts: bool) -> AsyncIterator[Any]:
        """See ``Worker``."""
        return self.worker().reports_of(task, parts)

    async def unschedule_by_id(self, schedule_id: str) -> bool:
        """See ``Worker``."""
        return await self.worker().unschedule_by_id(schedule_id)
