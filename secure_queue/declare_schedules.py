"""Declares schedules in code: ``@worker.cron(...)`` and ``@worker.every(...)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta, tzinfo
from typing import Any, TypeAlias, Unpack

from secure_queue import names
from secure_queue.cron import Cron, Every, Rule, zone_name
from secure_queue.declare import AnyTask
from secure_queue.declare_paths import PathDeclarations
from secure_queue.dependencies import callers_signature
from secure_queue.errors import ConfigurationError
from secure_queue.plans import Plan, plan
from secure_queue.schedule_records import Repeated
from secure_queue.settings import by_name, flags, lifetime_of
from secure_queue.task_options import PlainOptions
from secure_queue.tasks import RegisteredTask

Schedulable: TypeAlias = Callable[..., Any] | AnyTask | str
ScheduleDecorator: TypeAlias = Callable[[Schedulable], AnyTask]


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule that lives in code, with its arguments."""

    repeated: Repeated
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    floats: bool = False
    """Whether its time zone is that of whoever takes it in."""

    def in_zone_of(self, home: ScheduleDeclarations) -> Declared:
        """The same for *home*."""
        rule = self.repeated.plan.rule
        if not self.floats or not isinstance(rule, Cron):
            return self
        made = replace(self.repeated.plan, rule=Cron(rule.expression, home.tz))
        return replace(self, repeated=replace(self.repeated, plan=made), floats=not home.has_zone)


class ScheduleDeclarations(PathDeclarations):
    """The part of a worker object, or of a router, that knows its schedules."""

    tz: str | tzinfo = "UTC"
    has_zone = False
    """Whether somebody has chosen it; else schedules that name none take that of whoever includes these declarations."""

    def __init__(self) -> None:
        super().__init__()
        self.declared_schedules: dict[str, Declared] = {}

    def read_zone(self, tz: str | tzinfo | None) -> None:
        """Take the zone that a user has chosen, None for UTC; raises ``ConfigurationError``."""
        self.tz, self.has_zone = zone_name("UTC" if tz is None else tz), tz is not None

    def cron(
        self,
        expression: str,
        *,
        tz: str | tzinfo | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        schedule_id: str | None = None,
        misfire: str = "once",
        max_schedule_drift: float | timedelta = 60,
        unique: bool = True,
        run_at_startup: bool = False,
        **options: Unpack[PlainOptions],
    ) -> ScheduleDecorator:
        """Register a function as a task (or take a registered one, or a path) and run it whenever *expression* fires.

        Five crontab fields, or six with the second first, in the zone *tz* (an IANA name or tzinfo; else that of the
        worker). Each firing runs once, however many workers there are. When none ran, ``misfire`` decides: "once" runs
        the latest missed firing, "catch_up" all up to a hundred, "skip" none that is later than ``max_schedule_drift``
        (seconds or timedelta). With ``unique`` a firing is dropped while the run before has not ended. ``run_at_startup``
        runs it also when a worker starts. *options* are those of ``task``. Raises ``ConfigurationError``.
        """
        rule = Cron(expression, self.tz if tz is None else tz)
        made = _plan(rule, misfire, max_schedule_drift, unique=unique, at_startup=run_at_startup)
        return self._declare(made, args, kwargs, schedule_id, options, floats=tz is None)

    def every(
        self,
        interval: float | timedelta,
        *,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        schedule_id: str | None = None,
        misfire: str = "once",
        max_schedule_drift: float | timedelta = 60,
        unique: bool = True,
        run_at_startup: bool = False,
        **options: Unpack[PlainOptions],
    ) -> ScheduleDecorator:
        """``cron`` with a fixed interval of 1 second to 366 days, counted from the epoch."""
        made = _plan(Every(interval), misfire, max_schedule_drift, unique=unique, at_startup=run_at_startup)
        return self._declare(made, args, kwargs, schedule_id, options)

    def _declare(
        self,
        made: Plan,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        schedule_id: str | None,
        options: PlainOptions,
        *,
        floats: bool = False,
    ) -> ScheduleDecorator:
        def register(function: Schedulable) -> AnyTask:
            task = self._as_task(function, options)
            if task.settings.keying.decides_enqueue:
                raise ConfigurationError(
                    f"a schedule fires {task.fn_name!r} without its keys; let a task that it runs enqueue it"
                )
            name = task.fn_name if schedule_id is None else names.task_id(schedule_id)
            repeated = Repeated(
                name, task.fn_name, made, None, lifetime_of(task.settings), encrypt=task.settings.encrypt
            )
            called = _by_position(args), by_name("kwargs", kwargs)
            _must_fit(task, *called)
            self.adopt_schedule(Declared(repeated, *called, floats))
            return task

        return register

    def adopt_schedule(self, declared: Declared, *, override: bool = False) -> None:
        """Take a schedule in, here and wherever this is included; *override* lets it replace another."""
        name = declared.repeated.schedule_id
        if name in self.declared_schedules and not override:
            raise ConfigurationError(f"a schedule {name!r} exists already; pass another schedule_id=")
        self.declared_schedules[name] = declared = declared.in_zone_of(self)
        for includer in self.includers:
            if isinstance(includer, ScheduleDeclarations) and includer.serves(self._queue_of(declared)):
                includer.adopt_schedule(declared, override=override)

    def _queue_of(self, declared: Declared) -> str | None:
        return self.entry(declared.repeated.function).settings.queue

    def _as_task(self, function: Schedulable, options: PlainOptions) -> AnyTask:
        if isinstance(function, str):
            return self.add(function, **options)
        if not isinstance(function, RegisteredTask):
            made: AnyTask = self.task(**options)(function)
            return made
        if options:
            raise ConfigurationError(f"{function.fn_name!r} is a task already; give its options to task()")
        known = self.registry.get(function.fn_name)
        if known is None or known.fn is not function.fn:
            raise ConfigurationError(f"{function.fn_name!r} is a task of another worker; include that one here first")
        return known


def _by_position(args: object) -> tuple[Any, ...]:
    if not isinstance(args, (tuple, list)):
        raise ConfigurationError("args= is a tuple of what the function is called with, for example args=(7,)")
    return tuple(args)


def _must_fit(task: AnyTask, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise ``ConfigurationError`` if the function cannot be called so, unless something around it may change that."""
    if any(not layer.is_empty for layer in task.layers):
        return
    signature = callers_signature(task.fn)
    if signature is None:
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigurationError(f"{task.fn_name!r} cannot be called so: {error}; say args= and kwargs=") from None


def _plan(rule: Rule, misfire: str, max_drift: float | timedelta, *, unique: bool, at_startup: bool) -> Plan:
    flags(unique=unique, run_at_startup=at_startup)
    return plan(rule, misfire=misfire, max_schedule_drift=max_drift, overlap=not unique, at_startup=at_startup)
