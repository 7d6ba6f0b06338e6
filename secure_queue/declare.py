"""Declares tasks: from a function and its options to an entry of the registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar, Unpack, cast, overload

from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.key_options import for_function
from secure_queue.limits import Limit, must_agree
from secure_queue.other_names import OF_CALLS_BY_NAME, unknown
from secure_queue.surround import SurroundingDeclarations, own_surroundings, plan_of
from secure_queue.task_options import TaskOptions, task_settings
from secure_queue.tasks import Home, RegisteredTask, Task, running_worker

P = ParamSpec("P")
R = TypeVar("R")

AnyTask: TypeAlias = RegisteredTask[..., Any, Any]


class TaskDecorator(Protocol):
    """What ``worker.task(...)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> RegisteredTask[P, R, Awaitable[R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> RegisteredTask[P, R, R]: ...


class Declarations(SurroundingDeclarations, Home):
    """The part of a worker object, or of a router, that knows its functions."""

    def __init__(self) -> None:
        super().__init__()
        self.registry: dict[str, AnyTask] = {}
        """What can be run here, by name."""
        self.elsewhere: dict[str, AnyTask] = {}
        """What can only be enqueued here, by name: stubs, and functions that have not been imported yet."""
        self.includers: list[Declarations] = []
        self.queue_limits: tuple[Limit, ...] = ()
        """Those of the whole queue."""
        self.default_expire_s: float | None = None
        """For how long after it is due a task may start, if the task does not say."""

    @overload
    def task(self, fn: Callable[P, Awaitable[R]], /) -> RegisteredTask[P, R, Awaitable[R]]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> RegisteredTask[P, R, R]: ...
    @overload
    def task(self, fn: None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    def task(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function, async or sync (which runs in a thread, or with ``process`` in a process), as a task.

        ``max_tries`` counts all tries (3; None: no limit). ``timeout`` limits one try, ``ttl`` is how long the result is
        kept (300; 0: not at all, None: for ever), no try starts later than ``expire`` after the task is due; all in
        seconds or as timedeltas. Ordinary exceptions in ``retry_on`` and not in ``no_retry_on`` are retried after
        ``retry_policy(tries)`` seconds, timeouts only with ``retry_timeouts``. At ``soft_timeout`` the task is told
        (``soft_limit``), no further than to ``max_timeout`` it can ask for time. ``silent`` keeps it out of the log.
        ``encrypt`` hides arguments and results from whoever reads Redis, ``compress`` makes large ones smaller (None: as
        the worker object does). ``queue``, in a router, says to which it belongs. ``limits`` hold over all workers
        together. ``middleware``, ``before_process`` and ``after_process`` are those of the worker object, for this task
        alone. ``unique``, ``unique_key``, ``unique_for``, ``on_conflict``, ``debounce``, ``debounce_max``, ``throttle``,
        ``order_by`` and ``fair_by`` are told in docs/control.md, as ``limits`` are. Raises ``ConfigurationError`` for
        options out of range and for a second function of the same name.
        """
        return self._decorator(self.adopt, fn, cast("TaskOptions", options))

    actor = task
    """The name that Repid gives to ``task``."""

    @overload
    def stub(self, fn: Callable[P, Awaitable[R]], /) -> RegisteredTask[P, R, Awaitable[R]]: ...
    @overload
    def stub(self, fn: Callable[P, R], /) -> RegisteredTask[P, R, R]: ...
    @overload
    def stub(self, fn: None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    def stub(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare the signature of a task whose code is elsewhere: it can be enqueued here, and is never run here.

        Of the options of ``task`` those count that its sender decides: ``name``, ``expire``, ``encrypt``, ``compress``, and
        those about keys but for ``unique=True``.
        """
        return self._decorator(self._as_stub, fn, cast("TaskOptions", options))

    def _decorator(
        self, keep: Callable[[AnyTask], AnyTask], fn: Callable[..., Any] | None, options: TaskOptions
    ) -> AnyTask | Callable[[Callable[..., Any]], AnyTask]:
        if fn is not None and not callable(fn):
            raise ConfigurationError("task() decorates a function; pass options by keyword, for example task(name='…')")

        def register(function: Callable[..., Any]) -> AnyTask:
            settings = task_settings(options.get("name") or name_of(function), options, self.default_expire_s)
            settings = replace(settings, keying=for_function(settings.keying, function))
            return keep(RegisteredTask(function, settings, self, layers))

        task_settings("unnamed", options, None)  # a mistake is told where it is, not where the function begins
        layers = own_surroundings(options)
        return register if fn is None else register(fn)

    def _as_stub(self, task: AnyTask) -> AnyTask:
        task.fn = elsewhere(task.fn_name)
        return self.adopt_elsewhere(task)

    def adopt(self, task: AnyTask, *, override: bool = False) -> AnyTask:
        """Take a task into the registry, here and wherever this is included; *override* lets it replace another."""
        self._must_fit(task, override)
        self.must_agree_about_limits(task)
        task.plan = plan_of(task)
        self.elsewhere.pop(task.fn_name, None)
        self.registry[task.fn_name] = task
        for includer in self.includers:
            if includer.serves(task.settings.queue):
                includer.adopt(task.bound_to(includer), override=override)
        return task

    def plan_all(self) -> None:
        """Put around every task what surrounds it now; to be called before tasks are run."""
        for task in self.registry.values():
            task.plan = plan_of(task)

    def adopt_elsewhere(self, task: AnyTask, *, override: bool = False) -> AnyTask:
        """The same for a task whose code is not here."""
        self._must_fit(task, override)
        self.registry.pop(task.fn_name, None)
        self.elsewhere[task.fn_name] = task
        for includer in self.includers:
            if includer.serves(task.settings.queue):
                includer.adopt_elsewhere(task.bound_to(includer), override=override)
        return task

    def must_agree_about_limits(self, *new: AnyTask) -> None:
        """Raise ``ConfigurationError`` if a limit of *new* tasks has the name of another one here and other numbers."""
        if any(task.settings.limits for task in new):
            tasks = {**self.registry, **{task.fn_name: task for task in new}}
            must_agree([*self.queue_limits, *(limit for task in tasks.values() for limit in task.settings.limits)])

    def _must_fit(self, task: AnyTask, override: bool) -> None:
        if not self.serves(task.settings.queue):
            raise ConfigurationError(
                f"this worker object is not of queue {task.settings.queue!r}; declare the task at the one that is, or in a "
                "Router that both of them include"
            )
        if not override and (task.fn_name in self.registry or task.fn_name in self.elsewhere):
            raise ConfigurationError(f"a task named {task.fn_name!r} is registered already; pass another name=")

    def serves(self, queue: str | None) -> bool:
        """Whether tasks that belong to *queue* can be declared here; a router has tasks of every queue."""
        return True

    def enqueue_by_name(self, fn_name: str, /, *args: Any, **kwargs: Any) -> Task[Any]:
        """A handle of one run of the task *fn_name*, whether its code is known here or not; await it to enqueue it.

        The worker that runs it has its options. What the sender decides (``expire``, ``encrypt``) is as declared here, in
        ``task`` or ``stub``, if it is; else as the worker object does, or as ``.start(...)`` says. Raises ``TypeError`` for
        what ARQ takes among the arguments (``_job_id``): the function would be given it.
        """
        if not isinstance(fn_name, str):
            raise ConfigurationError("enqueue_by_name takes the name of a task, for example 'app.tasks.send_email'")
        if options := kwargs.keys() & OF_CALLS_BY_NAME.keys():
            raise unknown("call", options, OF_CALLS_BY_NAME)
        task = self.registry.get(fn_name) or self.elsewhere.get(fn_name)
        if self.includers:
            queue = None if task is None else task.settings.queue
            return self.worker(queue).enqueue_by_name(fn_name, *args, **kwargs)
        if task is None:
            settings = task_settings(fn_name, {}, self.default_expire_s)
            task = RegisteredTask(elsewhere(fn_name), settings, self)
        return task.enqueue(*args, **kwargs)

    enqueue_unsafe = enqueue_by_name
    """The name that streaQ gives to ``enqueue_by_name``."""

    @property
    def state(self) -> dict[str, Any]:
        """Whatever start-up hooks leave for tasks; emptied when the worker has stopped. A router has that of its worker."""
        return self.worker()._state

    # Who stands for these declarations

    def worker(self, queue: str | None = None) -> Declarations:
        """The worker object that enqueues and runs these tasks, those of *queue*.

        Raises ``ConfigurationError`` if there is none, or if it is not clear which.
        """
        found = [one for one in self._outermost() if one.serves(queue)]
        if not found:
            raise ConfigurationError(
                f"no worker object of queue {queue!r} has included this task; let that one include it"
            )
        running = running_worker.get()
        if len(found) > 1 and running is not None:
            found = [one for one in found if one is running] or found
        if len(found) != 1:
            raise ConfigurationError(
                "several worker objects have included this task; say queue= where it is declared, or outside of a task "
                "enqueue it through one of them, for example worker.enqueue_by_name(task.fn_name, …)"
            )
        return found[0]

    def _outermost(self) -> list[Declarations]:
        if not self.includers:
            return [self]
        return list(dict.fromkeys(end for includer in self.includers for end in includer._outermost()))

    def entry(self, fn_name: str) -> AnyTask:
        """The task of that name as it is run and enqueued here."""
        return self.registry.get(fn_name) or self.elsewhere[fn_name]


def elsewhere(fn_name: str) -> Callable[..., NoReturn]:
    """Stands for a function whose code is not here."""

    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise SecureQueueError(
            f"the code of {fn_name!r} is not here; it can be enqueued, and a worker that has it runs it"
        )

    return call


def name_of(function: Callable[..., Any]) -> str:
    """The name that a function brings; a ``functools.partial`` or another callable object has none."""
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"a {type(function).__name__} has no name of its own; pass task(name='…')")
    return name
