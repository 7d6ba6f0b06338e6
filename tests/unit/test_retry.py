"""From the number of tries to the delay."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue.errors import ConfigurationError, Retry
from secure_queue.retry import DEFAULT_POLICY, RetryPolicy, seconds


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    policy = RetryPolicy(base=2, factor=3, cap=50, jitter=0)
    assert [policy(tries) for tries in (1, 2, 3, 4, 5)] == [2, 6, 18, 50, 50]


@pytest.mark.parametrize("tries", [10_000, 10**9])
def test_any_number_of_tries_has_a_delay(tries: int) -> None:
    assert RetryPolicy(jitter=0)(tries) == 3600


def test_a_factor_of_one_is_a_constant_delay() -> None:
    assert {RetryPolicy(base=5, factor=1, jitter=0)(tries) for tries in range(1, 20)} == {5}


def test_jitter_shortens_the_delay_by_at_most_its_share() -> None:
    delays = [RetryPolicy(base=10, jitter=0.5)(1) for _ in range(1000)]
    assert 5 <= min(delays) < 6 and 9 < max(delays) <= 10


def test_full_jitter_reaches_from_nothing() -> None:
    assert min(RetryPolicy(base=10, jitter=1)(1) for _ in range(1000)) < 1


def test_the_default_begins_with_a_second_or_less() -> None:
    assert 0.5 <= DEFAULT_POLICY(1) <= 1


@pytest.mark.parametrize(
    "wrong", [{"base": -1}, {"factor": 0.5}, {"cap": -1}, {"jitter": -0.1}, {"jitter": 1.1}, {"base": "1"}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RetryPolicy(**wrong)


def test_durations_are_seconds_or_timedeltas() -> None:
    assert [seconds(2), seconds(0.5), seconds(timedelta(minutes=1))] == [2.0, 0.5, 60.0]
    assert [seconds(10**400), seconds(-(10**400))] == [math.inf, -math.inf]


@pytest.mark.parametrize(("wrong", "told"), [("5", "str"), (True, "bool"), (None, "NoneType"), (math.nan, "nan")])
def test_what_is_no_duration_is_refused(wrong: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"delay is a number of seconds or a timedelta, not {told}"):
        seconds(wrong, "delay")


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"delay": math.nan}, "from 0 seconds to 100 years"),
        ({"delay": math.inf}, "from 0 seconds to 100 years"),
        ({"delay": 10**400}, "from 0 seconds to 100 years"),
        ({"delay": -1}, "from 0 seconds to 100 years"),
        ({"delay": timedelta(-1)}, "from 0 seconds to 100 years"),
        ({"delay": True}, "from 0 seconds to 100 years"),
        ({"schedule": datetime(2030, 1, 1)}, "an aware datetime"),
        ({"schedule": 5}, "an aware datetime"),
        ({"delay": 5, "schedule": datetime(2030, 1, 1, tzinfo=UTC)}, "not both"),
    ],
    ids=str,
)
def test_a_wish_for_another_run_that_makes_no_sense_is_refused(wish: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Retry("not yet", **wish)
