"""What a task is: the registered function, and the handle of one enqueued run."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeAlias, TypeVar, Unpack

from secure_queue import names
from secure_queue.call_options import NOTHING_SAID, CallOptions, CallWishes, with_wishes
from secure_queue.cron import Cron, Every, as_rule
from secure_queue.durability import Durability, level_of
from secure_queue.edges import Lineage, On, Passes, edge_policy
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.other_names import OF_FUNCTIONS, OF_HANDLES, OtherNames
from secure_queue.plans import Plan, moment_ms, only_moment, plan
from secure_queue.reasons import Explanation
from secure_queue.running import Timed, current_run
from secure_queue.settings import TaskSettings, positive_seconds
from secure_queue.task_facts import TaskContext, TaskInfo, TaskResult, TaskStatus

__all__ = ["RegisteredTask", "Task", "TaskContext", "TaskInfo", "TaskResult", "TaskStatus", "current_run"]

P = ParamSpec("P")
R = TypeVar("R")
R2 = TypeVar("R2")
C = TypeVar("C")


class Publisher(Protocol):
    """What a handle needs of the worker object that it belongs to."""

    tz: str | tzinfo

    def generated_id(self, jti: bytes) -> str: ...
    async def enqueue_many(self, tasks: Iterable[Task[Any]]) -> None: ...
    async def result_of(self, task: Task[R], timeout: float | timedelta | None) -> TaskResult[R]: ...
    async def status_of(self, task: Task[Any]) -> TaskStatus: ...
    async def info_by_id(self, task_id: str) -> TaskInfo | None: ...
    async def abort_by_id(self, task_id: str, timeout: float | timedelta = 5) -> bool: ...
    async def explain_by_id(self, task_id: str) -> Explanation: ...
    async def unschedule_by_id(self, schedule_id: str) -> bool: ...
    async def report(self, progress: Any) -> None: ...
    async def progress_of(self, task: Task[Any]) -> Any: ...
    def reports_of(self, task: Task[Any], parts: bool) -> AsyncIterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A parent of a handle, which may be a handle itself, and what its end means for the child."""

    parent: Task[Any] | str
    on: On = On.SUCCESS
    runs_if_gone: bool = False
    passes: Passes = Passes.NOTHING


@dataclass(slots=True, eq=False)
class Task(OtherNames, Generic[R]):
    """One run of a function, on its way into the queue or in it; awaiting it enqueues it.

    ``existed`` is True after enqueueing if a task of this id was stored already: then that one stays as it is.
    ``durability`` is the level that was really met; before enqueueing it is None. ``wanted`` is the one asked for.
    ``duplicate_of`` is the id of the task of the same key that counts in its place; ``id`` is that one too then.
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
    duplicate_of: str | None = None
    durability: Durability | None = None
    options: CallOptions = field(default=NOTHING_SAID, repr=False)
    links: tuple[Link, ...] = field(default=(), repr=False)
    lineage: Lineage | None = field(default=None, repr=False)
    """Its place in a workflow, from the moment when it is enqueued with one."""
    _id: str | None = None
    _other_names = OF_HANDLES

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
        run_at: datetime | None = None,
        priority: str | None = None,
        durability: str | None = None,
        id: str | None = None,
        after: Task[Any] | str | Iterable[Task[Any] | str] | None = None,
        on: str = "success",
        gone: str = "fail",
        **wishes: Unpack[CallWishes],
    ) -> Self:
        """Say when, after what and how urgently it runs, and what else is different about this call; several calls add up.

        ``delay`` is in seconds or a timedelta. ``schedule`` is an aware datetime, or else it makes the call a schedule that
        is repeated until ``unschedule``: a crontab expression (in the zone of the worker), ``Cron``, ``Every``, or a
        timedelta. ``run_at`` is ``schedule`` for a datetime alone. ``durability`` is what the enqueue waits for: "primary",
        "replicated", "all" or "fsync". ``id`` is an id of one's own. ``after`` are the handles or ids of tasks that must end
        first: by ``on`` with "success", with "failure", or at all ("end"); ``gone`` says whether it fails or runs if one of
        them is not stored any more. ``max_tries``, ``timeout``, ``ttl``, ``expire``, ``encrypt`` and ``compress`` take the
        place of the options of the task, and so do its options about keys (docs/control.md), for which a text is the key
        itself; ``headers`` (text to text) travel along, see ``TaskContext``. Raises ``ConfigurationError`` for both times at
        once, a negative delay, a naive datetime, a bad expression, level or policy, and whatever is out of range.
        """
        if self.existed is not None:
            raise ConfigurationError("this handle is enqueued already; make another one with enqueue(…)")
        self._say_when(delay, schedule if run_at is None else only_moment(run_at, schedule))
        if priority is not None:
            self.priority = names.priority_name(priority)
        if durability is not None:
            self.wanted = level_of(durability)
        if id is not None:
            self.id = names.task_id(id)
        if after is not None:
            policy, runs_if_gone = edge_policy(on, gone)
            self.links += tuple(Link(parent, policy, runs_if_gone) for parent in _parents(after))
        elif (on, gone) != ("success", "fail"):
            raise ConfigurationError("on= and gone= belong to after=; say them in one call")
        if wishes:
            self.settings, self.options = with_wishes(self.settings, self.options, wishes)
        return self

    def _say_when(
        self, delay: float | timedelta | None, schedule: datetime | timedelta | str | Cron | Every | None
    ) -> None:
        if (delay is not None or self.delay_ms) and (schedule is not None or self.at_ms or self.plan is not None):
            raise ConfigurationError("a task takes either delay= or schedule=, not both")
        if delay is not None:
            self.delay_ms = round(positive_seconds("delay", delay, zero=True) * 1000)
        if isinstance(schedule, datetime):
            self.at_ms = moment_ms(schedule)
        elif schedule is not None:
            self.plan = plan(as_rule(schedule, self.publisher.tz))

    def then(self, task: RegisteredTask[..., R2, Any] | Task[R2], *args: Any, **kwargs: Any) -> Task[R2]:
        """A handle of *task* that runs after this one has succeeded, with its result as the first argument.

        A tuple is unpacked; *args* and *kwargs* come behind it. Awaiting the new handle enqueues both.
        """
        child = child_of(task, args, kwargs)
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
            child = child_of(task, (), {})
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
        """Where the task stands now; how it ended only if that was this very enqueue (``Rejected``)."""
        return await self.publisher.status_of(self)

    async def result(self, timeout: float | timedelta | None = None) -> TaskResult[R]:
        """Wait for the end of the task, at most *timeout* seconds; see ``Worker.result_by_id`` for what is raised."""
        return await self.publisher.result_of(self, timeout)

    async def progress(self) -> Any:
        """What the task has said last about how far it is; None if it has said nothing."""
        return await self.publisher.progress_of(self)

    def updates(self) -> AsyncIterator[Any]:
        """What the task says about how far it is, the last word first and then as it comes, until the task has ended."""
        return self.publisher.reports_of(self, False)

    def stream(self) -> AsyncIterator[Any]:
        """The parts of the result of a task that yields, from the first one on and then as they come.

        At the end it is known that none is missing. Raises what the task fails with, ``StreamBroken`` if another try began
        or parts are gone, and what ``result`` raises.
        """
        return self.publisher.reports_of(self, True)

    async def info(self) -> TaskInfo | None:
        """What is stored of the task until it has succeeded or was aborted; None afterwards."""
        return await self.publisher.info_by_id(self.id)

    async def explain(self) -> Explanation:
        """Why the task does not run, or what has become of it."""
        return await self.publisher.explain_by_id(self.id)

    async def abort(self, timeout: float | timedelta = 5) -> bool:
        """Stop the task wherever it is, and wait at most *timeout* seconds to learn whether it stopped."""
        return await self.publisher.abort_by_id(self.id, timeout)

    cancel = abort

    async def unschedule(self) -> bool:
        """Stop repeating; False if there is no such schedule. Runs that it has enqueued already stay."""
        return await self.publisher.unschedule_by_id(self.id)


def _parents(after: Task[Any] | str | Iterable[Task[Any] | str]) -> Sequence[Task[Any] | str]:
    found = tuple(after) if isinstance(after, Iterable) and not isinstance(after, str) else (after,)
    if not all(isinstance(parent, (Task, str)) for parent in found):
        raise ConfigurationError("after= takes what f.enqueue(...) returns, the id of a task, or several of them")
    return found


def child_of(task: RegisteredTask[..., R, Any] | Task[R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Task[R]:
    """A handle of what is to follow; raises ``ConfigurationError`` for anything else, and for arguments of a handle."""
    if isinstance(task, RegisteredTask):
        return task.enqueue(*args, **kwargs)
    if not isinstance(task, Task) or args or kwargs:
        raise ConfigurationError("what follows is a registered task and its arguments, or a handle that has its own")
    return task


running_worker: ContextVar[Publisher | None] = ContextVar("secure_queue_running_worker", default=None)
"""The worker object that runs the current task; None outside of tasks."""


CallNext: TypeAlias = Callable[..., Awaitable[Any]]
"""A task as what surrounds it sees it: an async function of its arguments."""


class Layer(Protocol):
    """Something that surrounds tasks."""

    @property
    def is_empty(self) -> bool: ...
    def around(self, call_next: CallNext) -> CallNext: ...


class Home(Publisher, Protocol):
    """The declarations in which a function stands: those of a worker object, or of a router."""

    surroundings: Any  # a Layer of any kind
    includers: Sequence[Home]
    """Who has taken these declarations in, and enqueues and runs their tasks from then on."""

    default_expire_s: float | None

    def worker(self, queue: str | None = None) -> Home: ...
    def entry(self, fn_name: str) -> RegisteredTask[..., Any, Any]: ...


class RegisteredTask(Timed, OtherNames, Generic[P, R, C]):
    """A function known to a worker; calling it runs the plain function, ``enqueue`` puts a run into the queue.

    ``P`` are its parameters, ``R`` is its result, ``C`` what a plain call gives (for async functions a coroutine).
    """

    _other_names = OF_FUNCTIONS

    def __init__(self, fn: Callable[P, C], settings: TaskSettings, home: Home, layers: tuple[Layer, ...] = ()) -> None:
        self.fn = fn
        self.settings = settings
        self.home = home
        self.layers = (home.surroundings, *layers)
        """What surrounds it, from outside to inside."""
        self.plan: CallNext | None = None  # the function with all that surrounds it; else it is called directly
        self.is_async = inspect.iscoroutinefunction(fn)  # what else returns an awaitable makes it in a thread
        self.streams = inspect.isasyncgenfunction(fn)
        """Whether it yields its result part by part."""
        if inspect.isgeneratorfunction(fn):
            raise ConfigurationError("a task that yields parts of its result is async: use async def")
        self.ttl_ms = settings.ttl_ms
        self.is_plain = not (settings.limits or settings.keying.alone)  # it may run whatever else runs
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

    @property
    def worker(self) -> Home:
        """The worker object that enqueues and runs it: the one that included its module, in a task the running one.

        Raises ``ConfigurationError`` if there is none, or if outside of a task several have it.
        """
        return self.home.worker(self.settings.queue)

    async def report(self, progress: Any) -> None:
        """Say, inside of a run, how far it is: any value that can be serialized; see ``Task.progress``.

        A sync task calls ``anyio.from_thread.run(task.report, progress)``.
        """
        await self.worker.report(progress)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """A handle of one run with these arguments; await it to enqueue it, or pass it to ``enqueue_many``."""
        if self.home.includers:
            return self.home.worker(self.settings.queue).entry(self.settings.name).enqueue(*args, **kwargs)
        return Task(self.settings.name, args, kwargs, self.settings, self.home, os.urandom(16))

    def bound_to(self, home: Home) -> RegisteredTask[P, R, C]:
        """The same task as an entry of other declarations, which have taken it in."""
        settings = self.settings
        if settings.expire_s is None:
            settings = replace(settings, expire_s=home.default_expire_s)
        return RegisteredTask(self.fn, settings, home, self.layers)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return self.fn(*args, **kwargs)
