"""Several handles that belong together: enqueued in one call, awaited together, followed by one callback."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from datetime import timedelta
from typing import Any, Final, Generic, Self, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from secure_queue.edges import Passes, edge_policy
from secure_queue.errors import ConfigurationError
from secure_queue.settings import patience
from secure_queue.tasks import Link, Publisher, RegisteredTask, Task, child_of

AT_ONCE: Final = 100
"""So many begin to wait before others have their turn on the event loop."""

R = TypeVar("R")
R2 = TypeVar("R2")


class Group(Generic[R]):
    """What ``Worker.group`` returns; ``tasks`` are its handles, in their order."""

    def __init__(self, publisher: Publisher, tasks: Iterable[Task[R]], *, on: str = "success") -> None:
        self.tasks = tuple(tasks) if isinstance(tasks, Iterable) else (tasks,)
        self._publisher = publisher
        self._on, _ = edge_policy(on, "fail")
        if not all(isinstance(task, Task) for task in self.tasks):
            raise ConfigurationError(
                "a group is made of what f.enqueue(...) returns, for example group([f.enqueue(1)])"
            )

    def __repr__(self) -> str:
        return f"<Group of {len(self.tasks)} tasks>"

    def then(self, callback: RegisteredTask[..., R2, Any] | Task[R2], *args: Any, **kwargs: Any) -> Task[R2]:
        """A handle of *callback* that runs after all of them, with the list of their results as the first argument.

        Awaiting the new handle enqueues everything.
        """
        child = child_of(callback, args, kwargs)
        if not self.tasks:
            child.args = ([], *child.args)
        child.links += tuple(Link(task, self._on, passes=Passes.LISTED) for task in self.tasks)
        return child

    def __or__(self, other: RegisteredTask[..., R2, Any] | Task[R2]) -> Task[R2]:
        return self.then(other)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._enqueue().__await__()

    async def _enqueue(self) -> Self:
        await self._publisher.enqueue_many(task for task in self.tasks if task.existed is None)
        return self

    async def results(
        self, timeout: float | timedelta | None = None, *, return_exceptions: bool = False
    ) -> list[R | BaseException]:
        """The values that they return, in their order, all within *timeout* seconds.

        The first failure is raised as soon as it is known, unless *return_exceptions* puts failures into the list. All of
        them are waited for at the same time: a result that is not kept for long is there when it comes.
        """
        waiting = _Waiting[R](self._publisher, patience(timeout), return_exceptions)
        async with anyio.create_task_group() as group:
            for number, task in enumerate(dict.fromkeys(self.tasks), 1):
                group.start_soon(waiting.wait_for, task, group)
                if number % AT_ONCE == 0:
                    await checkpoint()
        if waiting.problems:
            raise waiting.problems[0]
        return [waiting.found[task] for task in self.tasks]


class _Waiting(Generic[R]):
    """What has come of the tasks of a group so far."""

    def __init__(self, publisher: Publisher, timeout_s: float | None, returns_failures: bool) -> None:
        self._publisher = publisher
        self._timeout_s = timeout_s
        self._returns_failures = returns_failures
        self.found: dict[Task[R], R | BaseException] = {}
        self.problems: list[BaseException] = []

    async def wait_for(self, task: Task[R], group: TaskGroup) -> None:
        """Wait for the end of one task; with what must be raised, *group* ends."""
        try:
            outcome = await self._publisher.result_of(task, self._timeout_s)
        except Exception as error:  # kept out of the group, which would wrap it
            self._stop(error, group)
            return
        self.found[task] = outcome.result if outcome.success else outcome.exception
        if not outcome.success and not self._returns_failures:
            self._stop(outcome.exception, group)

    def _stop(self, problem: BaseException, group: TaskGroup) -> None:
        self.problems.append(problem)
        group.cancel_scope.cancel()
