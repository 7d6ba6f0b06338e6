"""Everything that a worker object can be asked about tasks, by handle or by id; open it first (``async with worker:``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from secure_queue import names
from secure_queue.cron import Cron, Every, as_rule
from secure_queue.dead_letters import DeadLetter, DeadLetters
from secure_queue.enqueueing import Enqueueing
from secure_queue.errors import ConfigurationError
from secure_queue.following import Following
from secure_queue.frames import followed_without_frames
from secure_queue.groups import Group
from secure_queue.listing import BrokenTask, list_tasks
from secure_queue.plans import plan
from secure_queue.scheduling import ScheduleInfo, Scheduling
from secure_queue.settings import patience
from secure_queue.storage import Counts
from secure_queue.tasks import RegisteredTask, Task, TaskInfo, TaskResult, TaskStatus
from secure_queue.workflows import Workflow, Workflows

R = TypeVar("R")


class Access(Enqueueing):
    """The part of a worker object that talks about tasks in the queue."""

    def group(self, tasks: Iterable[Task[R]], *, on: str = "success") -> Group[R]:
        """Handles that belong together; ``await`` enqueues them, ``.then(callback)`` runs it with the list of results.

        *on* says which ends let the callback run: "success" of all, "failure" of all, or any "end" (what failed is then an
        exception in the list).
        """
        return Group(self, tasks, on=on)

    async def gather(
        self, *tasks: Task[Any], timeout: float | timedelta | None = None, return_exceptions: bool = False
    ) -> list[Any]:
        """Enqueue those of *tasks* that are not yet, and wait for the results of all of them, in their order.

        The first failure is raised, unless *return_exceptions* puts it into the list; the other tasks go on.
        """
        timeout_s = patience(timeout)
        for task in tasks:
            if isinstance(task, Task):
                self._must_be_of_this_queue(task)
        group = await Group(self, tasks)
        return await group.results(timeout_s, return_exceptions=return_exceptions)

    async def map(
        self,
        task: RegisteredTask[..., R, Any],
        arguments: Iterable[Any],
        *,
        timeout: float | timedelta | None = None,
        return_exceptions: bool = False,
    ) -> list[R]:
        """Run *task* once for each of *arguments*, and wait for all results, in their order; see ``gather``."""
        if not isinstance(task, RegisteredTask) or not isinstance(arguments, Iterable):
            raise ConfigurationError(
                "map takes a registered task and its arguments, for example map(resize, [1, 2, 3])"
            )
        handles = [task.enqueue(one) for one in arguments]
        return await self.gather(*handles, timeout=timeout, return_exceptions=return_exceptions)

    async def workflow(self, task_id: str) -> Workflow:
        """A workflow by its id, which is that of its last task, or by any of its tasks that has not ended.

        Raises ``TaskNotFound``, or ``Rejected`` if what is stored of it is not genuine.
        """
        return await Workflows(self._client()).show(task_id)

    async def abort_workflow(self, task_id: str, timeout: float | timedelta = 5) -> list[str]:
        """Stop all tasks of a workflow that have not ended; the ids of those that are known to have stopped."""
        return await Workflows(self._client()).abort(task_id, timeout)

    async def result_of(self, task: Task[R], timeout: float | timedelta | None) -> TaskResult[R]:
        """The result of a handle; see ``result_by_id``."""
        return await self._client().result_of(task, timeout)

    async def result_by_id(self, task_id: str, timeout: float | timedelta | None = None) -> TaskResult[Any]:
        """Wait for the end of a task, at most *timeout* seconds.

        Raises ``ResultTimeout``, ``ResultUnavailable`` (``ttl=0``), ``TaskNotFound``, or ``Rejected`` if what is stored
        is not the genuine result of this task.
        """
        return await self._client().result(task_id, timeout)

    async def progress_of(self, task: Task[Any]) -> Any:
        """What a task has said last about how far it is; see ``Task.progress``."""
        return await Following(self._client(), task).progress()

    def reports_of(self, task: Task[Any], parts: bool) -> AsyncIterator[Any]:
        """What a task says before its end; see ``Task.updates`` and ``Task.stream``."""
        following = Following(self._client(), task)
        return followed_without_frames(following.parts() if parts else following.updates())

    async def status_of(self, task: Task[Any]) -> TaskStatus:
        """Where a handle stands; an older result of the same id is refused."""
        return await self._status(task.id, task.fn_name, self._client().ref_of(task))

    async def status_by_id(self, task_id: str) -> TaskStatus:
        """Where a task stands; a schedule is ``SCHEDULED``."""
        return await self._status(task_id, None, None)

    async def _status(self, task_id: str, function: str | None, ref: bytes | None) -> TaskStatus:
        status = await self._client().status(task_id, function=function, ref=ref)
        if status is TaskStatus.NOT_FOUND and await Scheduling(self._client()).is_known(task_id):
            return TaskStatus.SCHEDULED
        return status

    async def info_by_id(self, task_id: str) -> TaskInfo | None:
        """What is stored of a task that waits, runs or has failed for good; None if there is none."""
        return await self._client().info(task_id)

    async def abort_by_id(self, task_id: str, timeout: float | timedelta = 5) -> bool:
        """Stop a task wherever it is; True once it is known to have stopped, False if it had finished or went on.

        A running task is cancelled by its worker within about half a second.
        """
        return await self._client().abort(task_id, timeout)

    async def get_tasks_by_status(
        self, status: TaskStatus, *, limit: int = 100, offset: int = 0, priority: str | None = None
    ) -> list[TaskInfo | TaskResult[Any] | BrokenTask]:
        """One page of the tasks in a state; those whose payload does not open come as ``BrokenTask`` rows."""
        try:
            status = TaskStatus(status)
        except ValueError:
            raise ConfigurationError(f"no such status; use one of {', '.join(TaskStatus)}") from None
        self._must_be_known(priority)
        return await list_tasks(self._client(), status, limit=limit, offset=offset, priority=priority)

    async def schedule(
        self,
        task: Task[R],
        rule: str | timedelta | Cron | Every,
        *,
        schedule_id: str | None = None,
        misfire: str = "once",
        max_schedule_drift: float | timedelta = 60,
        unique: bool = True,
    ) -> Task[R]:
        """Repeat the call of *task* whenever *rule* fires, under *schedule_id* (else the id of the handle).

        A schedule of that id is replaced. The options are those of ``cron``. Raises ``ConfigurationError``.
        """
        if not isinstance(task, Task):
            raise ConfigurationError(
                "schedule takes a call, for example worker.schedule(report.enqueue(7), '0 6 * * *')"
            )
        self._must_be_of_this_queue(task)
        task.id = task.id if schedule_id is None else names.task_id(schedule_id)
        task.plan = plan(
            as_rule(rule, self.tz), misfire=misfire, max_schedule_drift=max_schedule_drift, overlap=not unique
        )
        return await task

    async def unschedule_by_id(self, schedule_id: str) -> bool:
        """Remove a stored schedule; False if there is none. Runs that it has enqueued already stay."""
        return await Scheduling(self._client()).remove(schedule_id)

    async def schedules(self) -> list[ScheduleInfo | BrokenTask]:
        """All schedules, those of this worker's code first; records that do not open come as ``BrokenTask`` rows."""
        return await Scheduling(self._client()).all(self.declared_schedules)

    async def counts(self) -> Counts:
        """How many tasks stand in each state."""
        return await self._client().counts()

    async def partition_counts(self) -> list[Counts]:
        """The same for each partition that anybody uses, in their order."""
        return await self._client().routes.counts()

    async def shrink_partitions(self) -> int:
        """Give up partitions beyond those of this worker, from the last one on, as long as they are empty.

        Returns how many are in use then: more than this worker has if they hold something, if others use them, or if ids of
        one's own are spread over them.
        """
        return await self._client().routes.shrink(_holds_something)

    async def queue_size(self, include_scheduled: bool = True) -> int:
        """How many tasks wait to be run."""
        counts = await self.counts()
        return counts.waiting + (sum(counts.due.values()) if include_scheduled else 0)

    async def dead_letters(self, *, limit: int = 100, offset: int = 0) -> list[DeadLetter | BrokenTask]:
        """One page of the tasks that failed for good, oldest first."""
        return await DeadLetters(self._client()).page(offset=offset, limit=limit)

    async def dead_letter(self, task_id: str) -> DeadLetter:
        """One dead letter; raises ``TaskNotFound`` or ``Rejected``."""
        return await DeadLetters(self._client()).show(task_id)

    async def retry_dead_letter(self, task_id: str) -> None:
        """Verify a dead letter and put it back under a fresh seal; raises ``TaskNotFound`` or ``Rejected``."""
        await DeadLetters(self._client()).retry(task_id)

    async def delete_dead_letter(self, task_id: str) -> None:
        """Delete a dead letter; raises ``TaskNotFound``."""
        await DeadLetters(self._client()).delete(task_id)


def _holds_something(counts: Counts) -> bool:
    """Results do not count: they are found by their id as long as they are kept."""
    return counts.waiting + sum(counts.due.values()) + counts.running + counts.dead + counts.quarantined > 0
