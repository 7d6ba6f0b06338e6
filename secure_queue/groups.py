"""Several handles that belong together: enqueued in one call, awaited together, followed by one callback."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar

import anyio

from secure_queue.edges import Passes, edge_policy
from secure_queue.errors import ConfigurationError
from secure_queue.tasks import Link, Publisher, RegisteredTask, Task, child_of

R = TypeVar("R")
R2 = TypeVar("R2")


class Group(Generic[R]):
    """What ``Worker.group`` returns; ``tasks`` are its handles, in their order."""

    def __init__(self, publisher: Publisher, tasks: Iterable[Task[R]], *, on: str = "success") -> None:
        self.tasks = tuple(tasks)
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
        found: dict[Task[R], R | BaseException] = {}
        problems: list[BaseException] = []

        async def wait_for(task: Task[R]) -> None:
            try:
                outcome = await self._publisher.result_of(task, timeout)
            except Exception as error:  # kept out of the group, which would wrap it
                problems.append(error)
            else:
                found[task] = outcome.result if outcome.success else outcome.exception
                if not outcome.success and not return_exceptions:
                    problems.append(outcome.exception)
            if problems:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for task in dict.fromkeys(self.tasks):
                group.start_soon(wait_for, task)
        if problems:
            raise problems[0]
        return [found[task] for task in self.tasks]
