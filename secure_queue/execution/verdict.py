"""Decides what becomes of a task after one run, without touching anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, cast

from secure_queue.errors import CannotCross, RateLimited, Retry, SoftTimeout
from secure_queue.payload.failures import Failure
from secure_queue.retry import seconds
from secure_queue.settings import TaskSettings


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The run exceeded its timeout."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """Somebody with a key asked for the end of the run."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another worker holds the task by now."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The worker stops and the run did not finish in its grace period."""


Interruption: TypeAlias = TimedOut | Aborted | LeaseLost | ShutDown
Ending: TypeAlias = Failed | Interruption


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Run again after so many milliseconds; the run counts."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Failed for good."""

    error: BaseException | Failure


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ended on request."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Write nothing: the task belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class HandBack:
    """Run again elsewhere, now or after so many milliseconds; the run does not count."""

    after_ms: int = 0


Verdict: TypeAlias = RetryIn | Bury | Cancel | GiveUp | HandBack

TIMED_OUT = Failure("TimeoutError", "the task exceeded its timeout")
WORKER_LOST = Failure("secure_queue.WorkerLost", "the worker died during the last permitted try")
EXPIRED = Failure("secure_queue.TaskExpired", "the task was not started before it expired")


def unknown_task(function: str) -> Failure:
    """The failure of a task whose function no worker knew."""
    return Failure("secure_queue.UnknownTask", f"no worker knows a task named {function!r}; deploy it or fix name=")


def decide(
    ending: Ending, tries: int, settings: TaskSettings, *, now: datetime | None = None, left_s: float | None = None
) -> Verdict:
    """What becomes of a task that did not return, after its try number *tries*, *left_s* seconds before it expires."""
    retried: bool
    problem: BaseException | Failure
    wish: Retry | None = None
    match ending:
        case TimedOut():
            retried, problem = settings.retry_timeouts, TIMED_OUT
        case Failed(error) if not issubclass(type(error), RateLimited):
            retried, problem, wish = _is_retried(error, settings), error, _as_retry(error)
        case _:
            return _of_no_try(ending)
    if not retried or not may_try_again(tries, settings.max_tries):
        return Bury(problem)
    pause_s = max(_pause_s(wish, tries, settings, now or datetime.now(UTC)), 0.0)
    if left_s is not None and pause_s > left_s:
        return Bury(problem)  # the next try would come too late
    return RetryIn(round(pause_s * 1000))


def _of_no_try(ending: Ending) -> Verdict:
    """What becomes of a task whose run says nothing about it."""
    match ending:
        case Aborted():
            return Cancel()
        case LeaseLost():
            return GiveUp()
        case Failed(error):
            return HandBack(stalled_ms(error))
        case _:
            return HandBack()


def stalled_ms(error: BaseException) -> int:
    """For how long a ``RateLimited`` lets nothing start."""
    return round(cast("RateLimited", error).after * 1000)


def _pause_s(wish: Retry | None, tries: int, settings: TaskSettings, now: datetime) -> float:
    if wish is not None and wish.schedule is not None:
        return (wish.schedule - now).total_seconds()
    if wish is not None and wish.delay is not None:
        return seconds(wish.delay)
    return seconds(settings.backoff(tries), "what a retry_policy= returns")


def may_try_again(tries: int, max_tries: int | None) -> bool:
    """Whether another try is left after *tries* of them."""
    return max_tries is None or tries < max_tries


def _as_retry(error: BaseException) -> Retry | None:
    """*error* if it is a ``Retry``; isinstance would ask the exception itself, whose __class__ may be anything."""
    return cast("Retry", error) if issubclass(type(error), Retry) else None


def _is_retried(error: BaseException, settings: TaskSettings) -> bool:
    kind = type(error)
    if issubclass(kind, Retry):
        return True
    if issubclass(kind, SoftTimeout):
        return settings.retry_timeouts
    if issubclass(kind, CannotCross):
        return False  # it would be no better another time
    return issubclass(kind, settings.retry_on) and not issubclass(kind, settings.no_retry_on)
