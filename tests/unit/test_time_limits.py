"""The limits of one try, as far as they are arithmetic."""

from __future__ import annotations

import math

import pytest

from secure_queue import ConfigurationError, SoftTimeout
from secure_queue.task_options import TaskOptions, task_settings
from secure_queue.time_limits import TimeLimits


def test_the_soft_limit_comes_first_and_without_one_the_hard_one_counts() -> None:
    assert TimeLimits(100, 50, None).left() == pytest.approx(50, abs=1)
    assert TimeLimits(100, None, None).left() == pytest.approx(100, abs=1)
    assert TimeLimits(50, 100, None).left() == pytest.approx(50, abs=1), "a call may have shortened it"
    assert TimeLimits(None, None, None).left() == math.inf


def test_a_limit_that_has_passed_is_raised_to_whoever_asks() -> None:
    TimeLimits(100, 50, None).check()
    for passed in (TimeLimits(100, 0, None), TimeLimits(0, None, None)):
        assert passed.left() == 0
        with pytest.raises(SoftTimeout):
            passed.check()


def test_both_limits_are_put_off_together_and_no_further_than_is_allowed() -> None:
    limits = TimeLimits(100, 50, 130)
    between = limits.hard_at - limits.soft_at
    assert limits.extend(20) == 20
    assert limits.extend(20) == pytest.approx(10)
    assert limits.extend(20) == pytest.approx(0)
    assert limits.left() == pytest.approx(80, abs=1)
    assert limits.hard_at - limits.soft_at == pytest.approx(between)


def test_no_time_passes_while_it_is_stopped_and_then_it_goes_on_with_what_was_left() -> None:
    limits = TimeLimits(100, 50, 130)
    limits.stop()
    stopped = limits.left(), limits.hard_left(), limits.rest()
    assert stopped == (limits.left(), limits.hard_left(), limits.rest())
    assert stopped[2] == (pytest.approx(100, abs=1), pytest.approx(50, abs=1), pytest.approx(130, abs=1))
    limits.go_on()
    assert stopped[0] - 1 < limits.left() <= stopped[0]
    assert limits.extend(1000) == pytest.approx(30), "the end was put off with the limits"
    assert TimeLimits(None, None, None).rest() == (None, None, math.inf)


@pytest.mark.parametrize(("hard", "soft", "most"), [(10, None, 90), (None, 10, 90), (10, 5, 90), (None, None, 0)])
def test_by_itself_a_limit_can_be_put_off_to_ten_times_its_length(
    hard: float | None, soft: float | None, most: float
) -> None:
    assert TimeLimits(hard, soft, None).extend(1_000_000) == pytest.approx(most)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 10, "soft_timeout": 10},
        {"soft_timeout": 0},
        {"max_timeout": 10},
        {"timeout": 10, "max_timeout": 9},
    ],
)
def test_limits_that_contradict_each_other_are_refused(options: TaskOptions) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        task_settings("task", options, None)
