"""Declares tasks: from a function and its options to an entry of the registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from secure_queue import names
from secure_queue.errors import ConfigurationError
from secure_queue.retry import DEFAULT_POLICY, Backoff
from secure_queue.settings import TaskSettings, exception_classes, positive_seconds
from secure_queue.tasks import Publisher, RegisteredTask

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What ``worker.task(...)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]], /) -> RegisteredTask[P, R, Awaitable[R]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> RegisteredTask[P, R, R]: ...


class Declarations(Publisher):
    """The part of a worker object that knows its functions."""

    def __init__(self) -> None:
        self.registry: dict[str, RegisteredTask[..., Any, Any]] = {}
        self.default_expire_s: float | None = None
        """For how long after it is due a task may start, if the task does not say."""

    @overload
    def task(self, fn: Callable[P, Awaitable[R]], /) -> RegisteredTask[P, R, Awaitable[R]]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> RegisteredTask[P, R, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = ...,
        max_tries: int | None = ...,
        timeout: float | timedelta | None = ...,
        ttl: float | timedelta | None = ...,
        expire: float | timedelta | None = ...,
        retry_timeouts: bool = ...,
        silent: bool = ...,
        retry_policy: Backoff = ...,
        retry_on: Sequence[type[Exception]] = ...,
        no_retry_on: Sequence[type[Exception]] = ...,
        encrypt: bool | None = ...,
        compress: bool | None = ...,
    ) -> TaskDecorator: ...
    def task(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        max_tries: int | None = 3,
        timeout: float | timedelta | None = None,
        ttl: float | timedelta | None = 300,
        expire: float | timedelta | None = None,
        retry_timeouts: bool = False,
        silent: bool = False,
        retry_policy: Backoff = DEFAULT_POLICY,
        retry_on: Sequence[type[Exception]] = (Exception,),
        no_retry_on: Sequence[type[Exception]] = (),
        encrypt: bool | None = None,
        compress: bool | None = None,
    ) -> Any:
        """Register a function, async or sync (which then runs in a thread), as a task of this queue.

        ``max_tries`` counts all tries (None: no limit). ``timeout`` limits one try, ``ttl`` is how long the result is
        kept (0: not at all, None: for ever), no try starts later than ``expire`` after the task is due; all in seconds or
        as timedeltas. Ordinary exceptions in ``retry_on`` and not in ``no_retry_on`` are retried after
        ``retry_policy(tries)`` seconds, timeouts only with ``retry_timeouts``. ``silent`` keeps the task out of the log.
        ``encrypt`` hides arguments and results from whoever reads Redis, ``compress`` makes large ones smaller (None: as
        the worker object does).
        Raises ``ConfigurationError`` for options out of range and for a second function of the same name.
        """

        if fn is not None and not callable(fn):
            raise ConfigurationError("task() decorates a function; pass options by keyword, for example task(name='…')")

        def register(function: Callable[..., Any]) -> RegisteredTask[..., Any, Any]:
            settings = TaskSettings(
                name=names.function_name(name or _name_of(function)),
                max_tries=max_tries,
                timeout_s=None if timeout is None else positive_seconds("timeout", timeout),
                ttl_s=None if ttl is None else positive_seconds("ttl", ttl, zero=True),
                expire_s=self.default_expire_s if expire is None else positive_seconds("expire", expire),
                retry_timeouts=retry_timeouts,
                silent=silent,
                backoff=retry_policy,
                retry_on=exception_classes("retry_on", retry_on),
                no_retry_on=exception_classes("no_retry_on", no_retry_on),
                encrypt=encrypt,
                compress=compress,
            )
            return self._register(RegisteredTask(function, settings, self))

        return register if fn is None else register(fn)

    def _register(self, task: RegisteredTask[..., Any, Any]) -> RegisteredTask[..., Any, Any]:
        maximum = task.settings.max_tries
        if maximum is not None and maximum < 1:
            raise ConfigurationError("max_tries counts all tries, so it is at least 1; None means no limit")
        if task.fn_name in self.registry:
            raise ConfigurationError(f"a task named {task.fn_name!r} is registered already; pass another name=")
        self.registry[task.fn_name] = task
        return task


def _name_of(function: Callable[..., Any]) -> str:
    """The name that a function brings; a ``functools.partial`` or another callable object has none."""
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"a {type(function).__name__} has no name of its own; pass task(name='…')")
    return name
