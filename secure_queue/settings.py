"""Frozen settings, validated once, and the only place that reads environment variables."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from secure_queue import names
from secure_queue.errors import LONGEST_S, ConfigurationError
from secure_queue.keying import NO_KEYS, Keying
from secure_queue.limits import Limit
from secure_queue.partitions import MOST_PARTITIONS
from secure_queue.retry import DEFAULT_POLICY, Backoff, seconds

URL_VARIABLE = "SECURE_QUEUE_URL"
KEYS_VARIABLE = "SECURE_QUEUE_KEYS"
KEYS_FILE_VARIABLE = "SECURE_QUEUE_KEYS_FILE"
AUDIT_KEY_VARIABLE = "SECURE_QUEUE_AUDIT_KEY"

DEFAULT_URL = "redis://localhost:6379"
DEFAULT_LIFETIME_S = 7 * 86_400
LONGEST_TTL_S = 100 * 365 * 86_400
MOST_SEATS = 10_000
"""For more, run more processes: one Python process is busy long before."""
LONGEST_LEASE_S = 86_400  # LONGEST_LEASE_MS in redis/lua/_prelude.lua
MOST_TRIES = 9_999  # MAX_TRIES there: a count that stood still below the maximum would let a task fail for ever


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says; None where a variable is not set."""

    url: str | None = field(repr=False)
    keys: str | None = field(repr=False)
    keys_file: str | None
    audit_key: str | None = None


def environment() -> Environment:
    """Read ``SECURE_QUEUE_URL``, ``SECURE_QUEUE_KEYS``, ``SECURE_QUEUE_KEYS_FILE`` and ``SECURE_QUEUE_AUDIT_KEY``."""
    return Environment(*map(os.environ.get, (URL_VARIABLE, KEYS_VARIABLE, KEYS_FILE_VARIABLE, AUDIT_KEY_VARIABLE)))


def environment_of_processes(throwaway_key: str) -> dict[str, str]:
    """The environment for processes that run functions of tasks: without our keys, and without the way to the server.

    A module that makes a ``Worker`` can still be imported there: *throwaway_key* stands in the place of the keys.
    """
    ours = (URL_VARIABLE, KEYS_VARIABLE, KEYS_FILE_VARIABLE, AUDIT_KEY_VARIABLE)
    others = {name: value for name, value in os.environ.items() if name not in ours}
    return {**others, URL_VARIABLE: DEFAULT_URL, KEYS_VARIABLE: throwaway_key}


def default_keys_file() -> Path:
    """Where the command line keeps keys unless told otherwise: ``secure-queue-keys.toml`` in the current folder."""
    return Path(os.environ.get(KEYS_FILE_VARIABLE) or "secure-queue-keys.toml")


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What both sides of a queue must agree on; ``priorities`` stand highest first.

    The number of partitions may differ: the largest that anybody uses is served by all.
    """

    queue_name: str
    priorities: tuple[str, ...]
    default_priority: str
    """The one that a task has unless it is given another."""
    partitions: int = 1
    ageing_ms: int = 0
    """For how long a task waits to rise by one priority; 0: none does."""

    @property
    def lowest_priority(self) -> str:
        """The one of a stored task that names none."""
        return self.priorities[-1]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker runs tasks; durations in seconds."""

    worker_id: str
    concurrency: int
    sync_concurrency: int
    prefetch: int | None
    idle_timeout_s: float
    grace_period_s: float
    handle_signals: tuple[int, ...]
    """Those that end it."""
    redact_failures: bool = True
    keep_dead_s: float = 30 * 86_400.0
    keep_dead: int = 10_000
    limits: tuple[Limit, ...] = ()
    """Those of the whole queue."""
    process_concurrency: int = 1


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How one kind of task is run; durations in seconds, None where there is no limit."""

    name: str
    max_tries: int | None = 3
    timeout_s: float | None = None
    ttl_s: float | None = 300.0
    expire_s: float | None = None
    retry_timeouts: bool = False
    silent: bool = False
    backoff: Backoff = DEFAULT_POLICY
    retry_on: tuple[type[Exception], ...] = (Exception,)
    no_retry_on: tuple[type[Exception], ...] = ()
    encrypt: bool | None = None
    """Whether arguments and results are encrypted; None: as the worker object does."""
    compress: bool | None = None
    limits: tuple[Limit, ...] = ()
    keying: Keying = NO_KEYS
    soft_timeout_s: float | None = None
    max_timeout_s: float | None = None
    """How long one try may become by asking for more time; None: ten times its limit."""
    process: bool = False
    """Whether a sync function runs in a process of its own instead of a thread."""
    queue: str | None = None
    """The queue that it belongs to; None: that of every worker object that knows it."""

    @property
    def ttl_ms(self) -> int:
        """The lifetime of a result in milliseconds, at most a century; negative: for ever."""
        return -1 if self.ttl_s is None else round(min(self.ttl_s, LONGEST_TTL_S) * 1000)


def lifetime_of(settings: TaskSettings) -> int:
    """For how many seconds after it is due a task of this kind may still be started."""
    return DEFAULT_LIFETIME_S if settings.expire_s is None else math.ceil(settings.expire_s)


def queue_settings(
    queue_name: str,
    priorities: Sequence[str] | None,
    partitions: int = 1,
    ageing: float | timedelta | None = None,
    default_priority: str | None = None,
) -> QueueSettings:
    """Check the name, the number of partitions, the priorities, which the caller lists lowest first, and their ageing."""
    given = ("normal",) if priorities is None else priorities
    listed = [names.priority_name(name) for name in given] if isinstance(given, Iterable) else []
    if isinstance(priorities, str) or not listed or len(set(listed)) != len(listed):
        raise ConfigurationError("priorities must be different names, lowest first, for example ['low', 'high']")
    number = whole_number("partitions", partitions, MOST_PARTITIONS)
    ageing_ms = 0 if ageing is None else max(1, round(positive_seconds("ageing", ageing) * 1000))
    usual = listed[0] if default_priority is None else default_priority
    if usual not in listed:
        raise ConfigurationError(f"default_priority must be one of the priorities: {', '.join(listed)}")
    return QueueSettings(names.queue_name(queue_name), tuple(reversed(listed)), usual, number, ageing_ms)


def worker_settings(
    worker_id: str | None,
    concurrency: int,
    sync_concurrency: int | None,
    prefetch: int | None,
    idle_timeout: float | timedelta,
    grace_period: float | timedelta,
    process_concurrency: int | None = None,
    *,
    handle_signals: tuple[int, ...],
    redact_failures: bool = True,
    limits: tuple[Limit, ...] = (),
) -> WorkerSettings:
    """Check the flat arguments of ``Worker`` and turn them into one value."""
    flags(redact_failures=redact_failures)
    idle = positive_seconds("idle_timeout", idle_timeout)
    if idle < 1:
        raise ConfigurationError("idle_timeout must be at least 1 second, or leases run out between two heartbeats")
    if idle > LONGEST_LEASE_S:
        raise ConfigurationError("idle_timeout must be at most a day: that long the tasks of a dead worker wait")
    if prefetch is not None and (isinstance(prefetch, bool) or not isinstance(prefetch, int) or prefetch < 0):
        raise ConfigurationError("prefetch must be 0 (claim for free seats only), a number, or None (adaptive)")
    return WorkerSettings(
        worker_id=names.worker_id(worker_id) if worker_id else os.urandom(6).hex(),
        concurrency=whole_number("concurrency", concurrency, MOST_SEATS),
        sync_concurrency=whole_number(
            "sync_concurrency", concurrency if sync_concurrency is None else sync_concurrency, MOST_SEATS
        ),
        prefetch=prefetch,
        idle_timeout_s=idle,
        grace_period_s=positive_seconds("grace_period", grace_period, zero=True),
        handle_signals=handle_signals,
        redact_failures=redact_failures,
        limits=limits,
        process_concurrency=whole_number(
            "process_concurrency",
            process_concurrency if process_concurrency is not None else os.cpu_count() or 1,
            MOST_SEATS,
        ),
    )


def limits_of_a_run(most_tasks: int | None, most_mib: int | None) -> tuple[int | None, int | None]:
    """Check after how many tasks, and with how many MiB of memory, a run ends; None: never."""
    return (
        None if most_tasks is None else whole_number("messages_limit", most_tasks, sys.maxsize),
        None if most_mib is None else whole_number("memory_limit", most_mib, sys.maxsize),
    )


def with_concurrency(settings: WorkerSettings, concurrency: int) -> WorkerSettings:
    """The same settings with another number of seats; sync tasks follow unless they had a number of their own."""
    own = settings.sync_concurrency != settings.concurrency
    return replace(
        settings,
        concurrency=whole_number("concurrency", concurrency, MOST_SEATS),
        sync_concurrency=settings.sync_concurrency if own else concurrency,
    )


def positive_seconds(name: str, duration: float | timedelta, *, zero: bool = False) -> float:
    """*duration* in seconds; raises ``ConfigurationError`` if it is negative, endless, or zero where that is no sense."""
    value = seconds(duration, name)
    if not 0 <= value <= LONGEST_S or (value == 0 and not zero):
        least = "0" if zero else "more than 0"
        raise ConfigurationError(f"{name} must be from {least} seconds to 100 years, not {value:g} seconds")
    return value


def patience(timeout: float | timedelta | None) -> float | None:
    """How many seconds a caller waits; None: for ever. What has passed already is no time at all.

    Raises ``ConfigurationError`` for what is no duration.
    """
    return None if timeout is None else max(0.0, seconds(timeout, "timeout="))


def pace(rate: float) -> float:
    """*rate* itself; raises ``ConfigurationError`` if it is no number of places a second."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < math.inf:
        raise ConfigurationError(f"rate= is how many places a second, or 0 for as many as it goes, not {rate!r}")
    return rate


def exception_classes(name: str, given: object) -> tuple[type[Exception], ...]:
    """One exception class or a sequence of them; raises ``ConfigurationError`` for anything else."""
    listed = (given,) if isinstance(given, type) else tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(error, type) and issubclass(error, Exception) for error in listed):
        raise ConfigurationError(f"{name} takes exception classes, for example ({name}=[ValueError])")
    return cast("tuple[type[Exception], ...]", listed)


def tries(maximum: int | None) -> int | None:
    """*maximum* itself; raises ``ConfigurationError`` if it is no number of tries."""
    if maximum is None:
        return None
    if isinstance(maximum, bool) or not isinstance(maximum, int) or not 1 <= maximum <= MOST_TRIES:
        raise ConfigurationError(
            f"max_tries counts all tries, so it is a whole number from 1 on, up to {MOST_TRIES:,}, not {maximum!r}; "
            "None means no limit"
        )
    return maximum


def flags(**given: object) -> None:
    """Raise ``ConfigurationError`` for what is neither True nor False; None is left to the reader of the option."""
    for name, value in given.items():
        if value is not None and not isinstance(value, bool):
            raise ConfigurationError(f"{name}= is True or False, not {value!r}")


def event_loop(backend: object, options: object) -> tuple[str, dict[str, Any]]:
    """Which event loop runs tasks, and its options; raises ``ConfigurationError`` for another one."""
    if backend not in ("asyncio", "trio"):
        raise ConfigurationError(f"anyio_backend= is 'asyncio' or 'trio', not {backend!r}")
    return backend, by_name("anyio_kwargs", options)


def by_name(name: str, given: object) -> dict[str, Any]:
    """*given* as a dictionary, empty for None; raises ``ConfigurationError`` unless it maps names to values."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigurationError(f"{name}= is a mapping from names to values, for example {name}={{'name': 1}}")
    return dict(given)


def page(limit: int, offset: int) -> None:
    """Raise ``ConfigurationError`` for what is no page of a list."""
    for name, number in (("limit", limit), ("offset", offset)):
        from_nought(name, number)


def from_nought(name: str, number: int) -> int:
    """*number* itself; raises ``ConfigurationError`` if it is no whole number from 0 on."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ConfigurationError(f"{name}= is a whole number from 0 on, not {number!r}")
    return number


def whole_number(name: str, number: int, most: int) -> int:
    """*number* itself; raises ``ConfigurationError`` if it is none from 1 to *most*."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise ConfigurationError(f"{name} must be a whole number from 1 to {most:,}, not {number!r}")
    return number
