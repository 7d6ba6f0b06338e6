"""What is due: firings in time, missed firings by policy, starts, and marks that somebody has forged."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secure_queue.cron import Cron, Every
from secure_queue.errors import ConfigurationError
from secure_queue.plans import MOST_CAUGHT_UP, Mark, Misfire, due, due_at_startup, plan, read_mark, rule_id

MINUTE = 60_000
RULE = Every(60)
NOW = 100 * MINUTE + 500


def looked(ms: int, fired: int = 0, rule: str = "") -> Mark:
    return Mark(ms, fired, "", rule)


def test_a_schedule_that_was_never_looked_at_begins_now() -> None:
    assert due(plan(RULE), None, NOW, begun_ms=NOW) == []


@pytest.mark.parametrize("policy", Misfire)
def test_a_firing_in_time_is_due_once(policy: Misfire) -> None:
    assert due(plan(RULE, misfire=policy), looked(100 * MINUTE - 1), NOW, begun_ms=NOW) == [100 * MINUTE]
    assert due(plan(RULE, misfire=policy), looked(100 * MINUTE), NOW, begun_ms=NOW) == []


def test_missed_firings_follow_the_policy() -> None:
    long_ago = looked(95 * MINUTE)
    assert due(plan(RULE, misfire="once"), long_ago, NOW, begun_ms=NOW) == [100 * MINUTE]
    assert due(plan(RULE, misfire="catch_up"), long_ago, NOW, begun_ms=NOW) == [
        minute * MINUTE for minute in range(96, 101)
    ]
    assert due(plan(RULE, misfire="skip"), long_ago, NOW, begun_ms=NOW) == [100 * MINUTE]
    assert due(plan(RULE, misfire="skip", max_schedule_drift=0.4), long_ago, NOW, begun_ms=NOW) == []
    assert due(plan(RULE, misfire="once", max_schedule_drift=0.4), long_ago, NOW, begun_ms=NOW) == [100 * MINUTE]


@pytest.mark.parametrize("policy", Misfire)
def test_under_another_rule_nothing_was_missed_before_this_worker_began(policy: Misfire) -> None:
    mark = looked(95 * MINUTE, rule=rule_id(Every(61)))
    changed = plan(RULE, misfire=policy)
    assert due(changed, mark, NOW, begun_ms=NOW) == []
    assert due(changed, mark, NOW, begun_ms=100 * MINUTE) == []
    assert due(changed, mark, NOW, begun_ms=100 * MINUTE - 1) == [100 * MINUTE], "workers of the other rule still look"
    assert due(changed, mark._replace(looked_ms=100 * MINUTE), NOW, begun_ms=0) == [], (
        "one of them has fired this moment"
    )
    assert due(changed, mark._replace(rule=rule_id(Every(60))), NOW, begun_ms=NOW)[-1:] == [100 * MINUTE]


def test_a_rule_is_the_same_however_it_is_spelled() -> None:
    assert rule_id(Cron("@daily")) == rule_id(Cron("0  0 * * *")) != rule_id(Cron("0 0 * * *", "Asia/Tokyo"))
    assert rule_id(Every(60)) == rule_id(Every(timedelta(minutes=1))) != rule_id(Every(61))


def test_catching_up_is_bounded() -> None:
    assert len(due(plan(Every(1), misfire="catch_up"), looked(0), NOW, begun_ms=NOW)) == MOST_CAUGHT_UP


def test_a_start_fires_unless_the_fleet_has_just_started() -> None:
    starting = plan(RULE, at_startup=True)
    assert due_at_startup(starting, None, NOW) == [NOW]
    assert due_at_startup(starting, looked(NOW, NOW - 59_000), NOW) == []
    assert due_at_startup(starting, looked(NOW, NOW - 61_000), NOW) == [NOW]
    assert due_at_startup(plan(RULE), None, NOW) == []


def test_marks_are_read_back() -> None:
    assert read_mark(b"5:4:abc:0f", NOW) == Mark(5, 4, "abc", "0f")
    assert read_mark(b"5:4:abc", NOW) == Mark(5, 4, "abc"), "one that does not say by which rule"


@pytest.mark.parametrize(
    "untrusted", [b"", b"x", b"1", b"-1:2:a", b"1:x:a", b"9" * 16 + b":0:", b"1:1:\xff", b"1:1:" + b"a" * 129]
)
def test_what_is_no_mark_counts_as_none(untrusted: bytes) -> None:
    assert read_mark(untrusted, NOW) is None


def test_a_mark_of_the_far_future_counts_as_none() -> None:
    assert read_mark(b"%d:0:" % (NOW + 600_001), NOW) is None
    assert read_mark(b"%d:0:" % (NOW + 599_999), NOW) is not None


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="once"):
        plan(RULE, misfire="later")
