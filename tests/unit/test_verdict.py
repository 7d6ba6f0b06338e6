"""What becomes of a task after one run: the whole table, without a queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from secure_queue.errors import ConfigurationError, RateLimited, Retry
from secure_queue.execution.verdict import (
    TIMED_OUT,
    Aborted,
    Bury,
    Cancel,
    Ending,
    Failed,
    GiveUp,
    HandBack,
    LeaseLost,
    RetryIn,
    ShutDown,
    TimedOut,
    Verdict,
    decide,
    may_try_again,
)
from secure_queue.settings import TaskSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = TaskSettings("t", max_tries=3, backoff=lambda tries: tries * 10.0)
ERROR = ValueError("x")


@pytest.mark.parametrize("tries", [1, 3, 99])
@pytest.mark.parametrize(
    ("ending", "verdict"), [(Aborted(), Cancel()), (LeaseLost(), GiveUp()), (ShutDown(), HandBack())]
)
def test_interruptions_do_not_depend_on_the_tries(ending: Ending, verdict: Verdict, tries: int) -> None:
    assert decide(ending, tries, SETTINGS) == verdict


@pytest.mark.parametrize(
    ("tries", "verdict"), [(1, RetryIn(10_000)), (2, RetryIn(20_000)), (3, Bury(ERROR)), (4, Bury(ERROR))]
)
def test_a_failure_is_tried_again_until_the_tries_are_used(tries: int, verdict: Verdict) -> None:
    assert decide(Failed(ERROR), tries, SETTINGS) == verdict


def test_a_timeout_is_final_unless_the_task_says_otherwise() -> None:
    assert decide(TimedOut(), 1, SETTINGS) == Bury(TIMED_OUT)
    again = TaskSettings("t", max_tries=3, backoff=lambda tries: 1.0, retry_timeouts=True)
    assert decide(TimedOut(), 2, again) == RetryIn(1000)
    assert decide(TimedOut(), 3, again) == Bury(TIMED_OUT)


@pytest.mark.parametrize(
    ("wish", "delay_ms"),
    [
        (Retry(), 10_000),
        (Retry(delay=0), 0),
        (Retry(delay=1.5), 1500),
        (Retry(delay=timedelta(seconds=2)), 2000),
        (Retry(schedule=NOW + timedelta(minutes=1)), 60_000),
        (Retry(schedule=NOW - timedelta(minutes=1)), 0),
    ],
)
def test_a_task_may_say_when_it_runs_again(wish: Retry, delay_ms: int) -> None:
    assert decide(Failed(wish), 1, SETTINGS, now=NOW) == RetryIn(delay_ms)


def test_a_wish_for_another_run_uses_a_try_and_needs_no_permission() -> None:
    wish = Retry(delay=1)
    assert decide(Failed(wish), 3, SETTINGS) == Bury(wish)
    strict = TaskSettings("t", retry_on=(), no_retry_on=(Exception,))
    assert decide(Failed(wish), 1, strict) == RetryIn(1000)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(), True),
        (FileNotFoundError(), False),
        (ConnectionError(), True),
        (ValueError(), False),
        (SystemExit(), False),
        (BaseException(), False),
    ],
)
def test_errors_are_tried_again_by_their_class(error: BaseException, again: bool) -> None:
    choosy = TaskSettings("t", retry_on=(OSError,), no_retry_on=(FileNotFoundError,), backoff=lambda tries: 0.0)
    assert decide(Failed(error), 1, choosy) == (RetryIn(0) if again else Bury(error))


def test_a_backoff_that_is_no_number_is_told_as_such() -> None:
    with pytest.raises(ConfigurationError, match="what a retry_policy= returns is a number of seconds"):
        decide(Failed(ERROR), 1, TaskSettings("t", backoff=lambda tries: float("nan")))


def test_a_backoff_may_be_a_timedelta_and_never_negative() -> None:
    assert decide(Failed(ERROR), 1, TaskSettings("t", backoff=lambda tries: timedelta(seconds=3))) == RetryIn(3000)
    assert decide(Failed(ERROR), 1, TaskSettings("t", backoff=lambda tries: -3.0)) == RetryIn(0)


@pytest.mark.parametrize(
    ("tries", "max_tries", "may"), [(1, 1, False), (1, 2, True), (10**9, None, True), (0, 1, True)]
)
def test_tries_are_counted_to_their_maximum(tries: int, max_tries: int | None, may: bool) -> None:
    assert may_try_again(tries, max_tries) is may


def test_a_timeout_with_a_negative_pause_is_tried_again_at_once() -> None:
    settings = TaskSettings("t", retry_timeouts=True, backoff=lambda tries: -3.0)
    assert decide(TimedOut(), 1, settings) == RetryIn(0)


@pytest.mark.parametrize(("left_s", "verdict"), [(None, RetryIn(3000)), (3.0, RetryIn(3000)), (2.9, Bury(ERROR))])
def test_a_try_that_would_come_too_late_is_not_made(left_s: float | None, verdict: object) -> None:
    settings = TaskSettings("t", backoff=lambda tries: 3.0)
    assert decide(Failed(ERROR), 1, settings, left_s=left_s) == verdict


@pytest.mark.parametrize("tries", [1, 3, 99])
def test_a_run_that_was_throttled_is_no_try_and_waits(tries: int) -> None:
    settings = TaskSettings("t", max_tries=1, no_retry_on=(RateLimited,))
    assert decide(Failed(RateLimited(after=1.5)), tries, settings) == HandBack(1500)
