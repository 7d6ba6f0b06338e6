"""The options of a task, as users write them, and the frozen settings that they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from secure_queue import names
from secure_queue.errors import ConfigurationError
from secure_queue.key_options import KeyOptions, keying_of_task
from secure_queue.limits import Limit, limits_of
from secure_queue.other_names import OF_TASKS, with_one_ttl
from secure_queue.other_names import unknown as no_such_option
from secure_queue.retry import DEFAULT_POLICY, Backoff
from secure_queue.settings import TaskSettings, exception_classes, flags, positive_seconds, tries


class PlainOptions(TypedDict, total=False):
    """What ``task``, ``stub``, ``cron`` and ``every`` take; durations in seconds or as timedeltas."""

    name: str | None
    queue: str | None
    max_tries: int | None
    timeout: float | timedelta | None
    soft_timeout: float | timedelta | None
    max_timeout: float | timedelta | None
    process: bool
    ttl: float | timedelta | None
    result_ttl: float | timedelta | None
    expire: float | timedelta | None
    retry_timeouts: bool
    silent: bool
    retry_policy: Backoff
    retry_on: Sequence[type[Exception]]
    no_retry_on: Sequence[type[Exception]]
    encrypt: bool | None
    compress: bool | None
    middleware: Sequence[Callable[..., Any]] | Callable[..., Any]
    before_process: Sequence[Callable[..., Any]] | Callable[..., Any]
    after_process: Sequence[Callable[..., Any]] | Callable[..., Any]
    limits: Sequence[Limit] | Limit


class TaskOptions(PlainOptions, KeyOptions, total=False):
    """What ``task`` and ``stub`` take."""


def task_settings(name: str, options: TaskOptions, default_expire_s: float | None) -> TaskSettings:
    """Check *options*; raises ``ConfigurationError`` for what is out of range, ``TypeError`` for what is no option."""
    unknown = options.keys() - TaskOptions.__annotations__.keys()
    if unknown:
        raise no_such_option("task", unknown, OF_TASKS)
    ttl, expire, queue = with_one_ttl(options).get("ttl", 300), options.get("expire"), options.get("queue")
    timeout_s, soft_s, longest_s = _limits(options)
    flags(**{name: options.get(name) for name in ("retry_timeouts", "silent", "encrypt", "compress", "process")})
    return TaskSettings(
        name=names.function_name(name),
        max_tries=tries(options.get("max_tries", 3)),
        timeout_s=timeout_s,
        soft_timeout_s=soft_s,
        max_timeout_s=longest_s,
        ttl_s=None if ttl is None else positive_seconds("ttl", ttl, zero=True),
        expire_s=default_expire_s if expire is None else positive_seconds("expire", expire),
        retry_timeouts=options.get("retry_timeouts", False),
        silent=options.get("silent", False),
        backoff=_backoff(options.get("retry_policy")),
        retry_on=exception_classes("retry_on", options.get("retry_on", (Exception,))),
        no_retry_on=exception_classes("no_retry_on", options.get("no_retry_on", ())),
        encrypt=options.get("encrypt"),
        compress=options.get("compress"),
        limits=limits_of(options.get("limits", ())),
        keying=keying_of_task(options),
        process=options.get("process", False),
        queue=None if queue is None else names.queue_name(queue),
    )


def _limits(options: TaskOptions) -> tuple[float | None, float | None, float | None]:
    """The hard limit, the soft one, and how far they can be put off."""
    given = {name: options.get(name) for name in ("timeout", "soft_timeout", "max_timeout")}
    hard, soft, longest = (
        None if duration is None else positive_seconds(name, duration)  # type: ignore[arg-type]  # it checks the type
        for name, duration in given.items()
    )
    if hard is not None and soft is not None and soft >= hard:
        raise ConfigurationError("soft_timeout must be shorter than timeout, or nobody is told before the end")
    last = soft if hard is None else hard
    if longest is not None and (last is None or longest < last):
        raise ConfigurationError("max_timeout says how far timeout can be put off; give that too, and not a longer one")
    return hard, soft, longest


def _backoff(policy: object) -> Backoff:
    """A retry policy; what could not be called would hide the failure of every task that is to be tried again."""
    if policy is None:
        return DEFAULT_POLICY
    if not callable(policy):
        raise ConfigurationError("retry_policy= is RetryPolicy(…), or a function from the number of tries to seconds")
    return policy
