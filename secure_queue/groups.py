"""Several handles that belong together: enqueued in one call, awaited together, followed by one callback."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar

from secure_queue.clock import monotonic
from secure_queue.edges import Passes, edge_policy
from secure_queue.errors import ConfigurationError
from secure_queue.retry import seconds
from secure_queue.tasks import Link, Publisher, RegisteredTask, Task

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
        child = callback if isinstance(callback, Task) else callback.enqueue(*args, **kwargs)
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

        The first failure is raised, unless *return_exceptions* puts it into the list.
        """
        end = None if timeout is None else monotonic() + seconds(timeout)
        values: list[R | BaseException] = []
        for task in self.tasks:
            outcome = await self._publisher.result_of(task, None if end is None else max(0.0, end - monotonic()))
            if not outcome.success and not return_exceptions:
                raise outcome.exception
            values.append(outcome.result if outcome.success else outcome.exception)
        return values
