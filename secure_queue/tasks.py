"""What a task is: the registered function, the handle of one enqueued run, and what can be known about it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, cast

from secure_queue import names
from secure_queue.clock import now_ms
from secure_queue.cron import Cron, Every, as_rule
from secure_queue.durability import Durability, level_of
from secure_queue.edges import Lineage, On, Passes, edge_policy
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.plans import Plan, plan
from secure_queue.settings import LONGEST_S, TaskSettings, positive_seconds

P = ParamSpec("P")
R = TypeVar("R")
R2 = TypeVar("R2")
C = TypeVar("C")


class TaskStatus(StrEnum):
    """The states of a task."""

    NOT_FOUND = "not_found"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a running task may know about its own run; ``idempotency_key`` is equal for every run of one enqueue or firing.

    ``fire_time`` is the moment of the firing that a schedule runs it for, None for other tasks.
    """

    task_id: str
    fn_name: str
    tries: int
    max_tries: int | None
    timeout: float | None
    ttl: float | None
    priority: str
    idempotency_key: str
    worker_id: str
    fire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task that waits, runs or has failed for good; times in milliseconds since the epoch."""

    task_id: str
    fn_name: str
    created_time: int
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    tries: int
    scheduled: datetime | None
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class TaskResult(Generic[R]):
    """A finished task; times in milliseconds since the epoch."""

    task_id: str
    fn_name: str
    status: TaskStatus
    enqueue_time: int
    start_time: int
    finish_time: int
    tries: int
    worker_id: str
    _value: R | BaseException = field(repr=False)

    @property
    def success(self) -> bool:
        """Whether the task returned."""
        return self.status is TaskStatus.DONE

    @property
    def result(self) -> R:
        """What the task returned; raises ``SecureQueueError`` if it failed (then see ``exception``)."""
        if not self.success:
            raise SecureQueueError("a failed task has no result; see .exception")
        return cast("R", self._value)

    @property
    def exception(self) -> BaseException:
        """Why the task failed; raises ``SecureQueueError`` if it succeeded (then see ``result``)."""
        if self.success:
            raise SecureQueueError("a successful task has no exception; see .result")
        return cast("BaseException", self._value)


class Publisher(Protocol):
    """What a handle needs of the worker object that it belongs to."""

    tz: str | tzinfo

    def generated_id(self, jti: bytes) -> str: ...
    async def enqueue_many(self, tasks: Iterable[Task[Any]]) -> None: ...
    async def result_of(self, task: Task[R], timeout: float | timedelta | None) -> TaskResult[R]: ...
    async def status_by_id(self, task_id: str) -> TaskStatus: ...
    async def info_by_id(self, task_id: str) -> TaskInfo | None: ...
    async def abort_by_id(self, task_id: str, timeout: float | timedelta = 5) -> bool: ...
    async def unschedule_by_id(self, schedule_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A parent of a handle, which may be a handle itself, and what its end means for the child."""

    parent: Task[Any] | str
    on: On = On.SUCCESS
    runs_if_gone: bool = False
    passes: Passes = Passes.NOTHING


@dataclass(slots=True, eq=False)
class Task(Generic[R]):
    """One run of a function, on its way into the queue or in it; awaiting it enqueues it.

    ``existed`` is True after enqueueing if a task of this id was stored already: then that one stays as it is.
    ``durability`` is the level that was really met; before enqueueing it is None. ``wanted`` is the one asked for.
    """

    fn_name: str
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    settings: TaskSettings = field(repr=False)
    publisher: Publisher = field(repr=False)
    jti: bytes = field(repr=False)
    delay_ms: int = 0
    at_ms: int = 0
    priority: str | None = None
    plan: Plan | None = None
    wanted: Durability | None = field(default=None, repr=False)
    existed: bool | None = None
    durability: Durability | None = None
    links: tuple[Link, ...] = field(default=(), repr=False)
    lineage: Lineage | None = field(default=None, repr=False)
    """Its place in a workflow, from the moment when it is enqueued with one."""
    _id: str | None = None

    @property
    def id(self) -> str:
        """The id; one that is not set by then is fixed when it is first looked at, and names a partition that is well."""
        if self._id is None:
            self._id = self.publisher.generated_id(self.jti)
        return self._id

    @id.setter
    def id(self, task_id: str) -> None:
        self._id = task_id

    def start(
        self,
        *,
        delay: float | timedelta | None = None,
        schedule: datetime | timedelta | str | Cron | Every | None = None,
        priority: str | None = None,
        durability: str | None = None,
        after: Task[Any] | str | Iterable[Task[Any] | str] | None = None,
        on: str = "success",
        gone: str = "fail",
    ) -> Self:
        """Say when, after what and how urgently it runs.

        ``delay`` is in seconds or a timedelta. ``schedule`` is an aware datetime, or else it makes the call a schedule that
        is repeated until ``unschedule``: a crontab expression (in the zone of the worker), ``Cron``, ``Every``, or a
        timedelta. ``durability`` is what the enqueue waits for: "primary", "replicated", "all" or "fsync". ``after`` are the
        handles or ids of tasks that must end first: by ``on`` with "success", with "failure", or at all ("end"); ``gone``
        says whether it fails or runs if one of them is not stored any more. Several calls add up. Raises
        ``ConfigurationError`` for both times at once, a negative delay, a naive datetime, a bad expression, level or policy.
        """
        if delay is not None and schedule is not None:
            raise ConfigurationError("a task takes either delay= or schedule=, not both")
        if delay is not None:
            self.delay_ms = round(positive_seconds("delay", delay, zero=True) * 1000)
        if isinstance(schedule, datetime):
            self.at_ms = moment_ms(schedule)
        elif schedule is not None:
            self.plan = plan(as_rule(schedule, self.publisher.tz))
        if priority is not None:
            self.priority = names.priority_name(priority)
        if durability is not None:
            self.wanted = level_of(durability)
        if after is not None:
            policy, runs_if_gone = edge_policy(on, gone)
            self.links += tuple(Link(parent, policy, runs_if_gone) for parent in _parents(after))
        return self

    def then(self, task: RegisteredTask[..., R2, Any] | Task[R2], *args: Any, **kwargs: Any) -> Task[R2]:
        """A handle of *task* that runs after this one has succeeded, with its result as the first argument.

        A tuple is unpacked; *args* and *kwargs* come behind it. Awaiting the new handle enqueues both.
        """
        child = task.enqueue(*args, **kwargs) if isinstance(task, RegisteredTask) else _as_it_is(task, args, kwargs)
        child.links += (Link(self, passes=Passes.VALUE),)
        return child

    def __or__(self, other: RegisteredTask[..., R2, Any] | Task[R2]) -> Task[R2]:
        return self.then(other)

    def otherwise(self, task: RegisteredTask[..., R2, Any] | Task[R2]) -> Task[R | R2]:
        """A handle of *task* that runs only if this one fails, with the same arguments unless it is a handle of its own.

        If this one succeeds, the result of the new handle is the result of this one.
        """
        if isinstance(task, RegisteredTask):
            child: Task[Any] = task.enqueue(*self.args, **self.kwargs)
            child.links += self.links
        else:
            child = task
        child.links += (Link(self, On.FAILURE, passes=Passes.INSTEAD),)
        return child

    def __xor__(self, other: RegisteredTask[..., R2, Any] | Task[R2]) -> Task[R | R2]:
        return self.otherwise(other)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._enqueue().__await__()

    async def _enqueue(self) -> Self:
        await self.publisher.enqueue_many((self,))
        return self

    async def status(self) -> TaskStatus:
        """Where the task stands now."""
        return await self.publisher.status_by_id(self.id)

    async def result(self, timeout: float | timedelta | None = None) -> TaskResult[R]:
        """Wait for the end of the task, at most *timeout* seconds; see ``Worker.result_by_id`` for what is raised."""
        return await self.publisher.result_of(self, timeout)

    async def info(self) -> TaskInfo | None:
        """What is stored of the task until it has succeeded or was aborted; None afterwards."""
        return await self.publisher.info_by_id(self.id)

    async def abort(self, timeout: float | timedelta = 5) -> bool:
        """Stop the task wherever it is, and wait at most *timeout* seconds to learn whether it stopped."""
        return await self.publisher.abort_by_id(self.id, timeout)

    async def unschedule(self) -> bool:
        """Stop repeating; False if there is no such schedule. Runs that it has enqueued already stay."""
        return await self.publisher.unschedule_by_id(self.id)


def _parents(after: Task[Any] | str | Iterable[Task[Any] | str]) -> Sequence[Task[Any] | str]:
    found = (after,) if isinstance(after, (Task, str)) else tuple(after)
    if not all(isinstance(parent, (Task, str)) for parent in found):
        raise ConfigurationError("after= takes what f.enqueue(...) returns, the id of a task, or several of them")
    return found


def _as_it_is(task: Task[R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task[R]:
    if not isinstance(task, Task) or args or kwargs:
        raise ConfigurationError("then() takes a registered task and its arguments, or a handle that has its own")
    return task


def moment_ms(moment: datetime) -> int:
    """An aware datetime in milliseconds since the epoch; raises ``ConfigurationError`` for a naive one."""
    if moment.utcoffset() is None:
        raise ConfigurationError(
            "schedule= needs an aware datetime, for example datetime.now(UTC) + timedelta(hours=1)"
        )
    at_ms = round(moment.timestamp() * 1000)
    if at_ms - now_ms() > LONGEST_S * 1000:
        raise ConfigurationError("schedule= is more than a hundred years away")
    return max(1, at_ms)  # negative would mean: from now


class RunningTask(Protocol):
    """What can tell the context of a run; it is made only when a task asks for it."""

    def context(self) -> TaskContext: ...


current_run: ContextVar[RunningTask] = ContextVar("secure_queue_current_run")
"""The run in whose flow of control the code is."""


class RegisteredTask(Generic[P, R, C]):
    """A function known to a worker; calling it runs the plain function, ``enqueue`` puts a run into the queue.

    ``P`` are its parameters, ``R`` is its result, ``C`` what a plain call gives (for async functions a coroutine).
    """

    def __init__(self, fn: Callable[P, C], settings: TaskSettings, publisher: Publisher) -> None:
        self.fn = fn
        self.settings = settings
        self.publisher = publisher
        self.is_async = inspect.iscoroutinefunction(fn)  # what else returns an awaitable makes it in a thread
        self.ttl_ms = settings.ttl_ms
        self.__doc__ = fn.__doc__
        self.__name__ = getattr(fn, "__name__", settings.name)
        self.__wrapped__ = fn

    @property
    def fn_name(self) -> str:
        """The name under which the function is known in the queue."""
        return self.settings.name

    @property
    def context(self) -> TaskContext:
        """The context of the run that is going on; raises ``SecureQueueError`` outside of a task."""
        try:
            return current_run.get().context()
        except LookupError:
            raise SecureQueueError("a task context exists only while a task runs") from None

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """A handle of one run with these arguments; await it to enqueue it, or pass it to ``enqueue_many``."""
        return Task(self.settings.name, args, kwargs, self.settings, self.publisher, os.urandom(16))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return self.fn(*args, **kwargs)
