"""When schedules fire: fields, seconds, zones, daylight saving time, intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from secure_queue.cron import Cron, Every, as_rule, firings_between
from secure_queue.errors import ConfigurationError

BERLIN = ZoneInfo("Europe/Berlin")


def ms(*parts: int, tz: object = UTC) -> int:
    return round(datetime(*parts, tzinfo=tz).timestamp() * 1000)  # type: ignore[arg-type,misc]


def following(rule: Cron | Every, after: int, count: int) -> list[int]:
    found = []
    for _ in range(count):
        after = rule.next_after(after)  # type: ignore[assignment]
        found.append(after)
    return found


def test_five_fields_fire_on_the_minute_and_six_on_the_second() -> None:
    start = ms(2026, 1, 1)
    assert following(Cron("30 3 * * *"), start, 2) == [ms(2026, 1, 1, 3, 30), ms(2026, 1, 2, 3, 30)]
    assert following(Cron("*/20 * * * * *"), start, 3) == [start + 20_000, start + 40_000, start + 60_000]


def test_a_moment_in_the_middle_of_a_second_and_on_a_firing_is_followed_by_the_next_one() -> None:
    rule = Cron("* * * * * *")
    assert rule.next_after(1_000) == 2_000
    assert rule.next_after(1_999) == 2_000
    assert list(islice(rule.back_from(2_000), 2)) == [2_000, 1_000]
    assert list(islice(rule.back_from(2_999), 2)) == [2_000, 1_000]


def test_the_hour_that_does_not_exist_is_not_left_out() -> None:
    rule = Cron("30 2 * * *", BERLIN)
    assert following(rule, ms(2026, 3, 28, 12, tz=BERLIN), 2) == [
        ms(2026, 3, 29, 3, tz=BERLIN),
        ms(2026, 3, 30, 2, 30, tz=BERLIN),
    ]


def test_the_hour_that_exists_twice_counts_once_for_a_fixed_time_and_twice_for_steps() -> None:
    night = ms(2026, 10, 25, 0, tz=BERLIN), ms(2026, 10, 25, 12, tz=BERLIN)
    assert len(firings_between(Cron("30 2 * * *", BERLIN), *night, most=99)) == 1
    assert len(firings_between(Cron("*/30 * * * *", BERLIN), *night, most=99)) == 26


@pytest.mark.parametrize("minute", [0, 10, 29, 30, 59])
def test_from_within_the_hour_that_comes_again_nothing_is_lost_and_nothing_is_next_that_was_before(minute: int) -> None:
    rule, moment = Cron("30 2 * * *", BERLIN), ms(2026, 10, 25, 1, minute)
    assert rule.next_after(moment) == ms(2026, 10, 26, 2, 30, tz=BERLIN)
    assert firings_between(rule, ms(2026, 10, 24, 12), moment, most=9) == [ms(2026, 10, 25, 0, 30)]
    steps = firings_between(Cron("*/30 * * * *", BERLIN), ms(2026, 10, 25), moment, most=9)
    assert steps == list(range(ms(2026, 10, 25, 0, 30), moment + 1, 1_800_000))


def test_each_schedule_has_its_own_zone() -> None:
    assert Cron("0 9 * * *", "Asia/Tokyo").next_after(ms(2026, 6, 1)) == ms(2026, 6, 2)
    assert Cron("0 9 * * *", BERLIN) == Cron("0 9 * * *", "Europe/Berlin")
    assert str(Cron("0 9 * * *", BERLIN)) == "0 9 * * * (Europe/Berlin)"


def test_nicknames_are_known() -> None:
    assert Cron("@daily").next_after(ms(2026, 1, 1)) == ms(2026, 1, 2)


def test_intervals_count_from_the_epoch() -> None:
    rule = Every(timedelta(seconds=90))
    assert following(rule, 100_000, 2) == [180_000, 270_000]
    assert list(rule.back_from(200_000)) == [180_000, 90_000, 0]
    assert firings_between(rule, 90_000, 270_000, most=99) == [180_000, 270_000]


def test_of_too_many_firings_the_latest_are_kept() -> None:
    assert firings_between(Every(1), 0, 1_000_000, most=2) == [999_000, 1_000_000]


@pytest.mark.parametrize("given", ["0 3 * * *", Cron("0 3 * * *"), Every(5), timedelta(minutes=1)], ids=str)
def test_rules_are_written_in_several_ways(given: object) -> None:
    assert isinstance(as_rule(given, "UTC"), (Cron, Every))


@pytest.mark.parametrize("given", ["", "* * *", "61 * * * *", "0 0 30 2 *", "@noon", "a\n b c d e", None, 5, object])
def test_what_is_no_rule_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError):
        as_rule(given, "UTC")


@pytest.mark.parametrize("interval", [0, 0.5, -1, 367 * 86_400, float("nan"), "5"])
def test_an_interval_out_of_range_is_refused(interval: float) -> None:
    with pytest.raises(ConfigurationError):
        Every(interval)


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "/etc/passwd", timedelta(1), None])
def test_a_zone_without_a_name_is_refused(zone: object) -> None:
    with pytest.raises(ConfigurationError, match="IANA"):
        Cron("* * * * *", zone)  # type: ignore[arg-type]
