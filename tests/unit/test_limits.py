"""Limits as values: what is refused, and by what name the storage knows them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_queue import ConcurrencyLimit, ConfigurationError, RateLimit, RateLimited, Router, Worker
from secure_queue.limits import LAST_LOOK_MS, Limit, digest, digest_of, limits_of, look_ms, must_agree, rank_of
from secure_queue.partitions import home_of
from secure_queue.task_options import task_settings

PLAIN = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.uuids() | st.dates()
)
KEYS = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


class Plan(Enum):
    FREE = 1
    PAID = 2


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "5", 10**9])
def test_a_limit_is_a_whole_number_in_range(most: object) -> None:
    with pytest.raises(ConfigurationError, match="a whole number from 1"):
        ConcurrencyLimit(most)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a whole number from 1"):
        RateLimit(most, per=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("per", [0, -1, float("nan"), float("inf"), 10**9, True, "60"])
def test_the_time_of_a_rate_is_a_duration_in_range(per: object) -> None:
    with pytest.raises(ConfigurationError, match="per= of a RateLimit"):
        RateLimit(5, per=per)  # type: ignore[arg-type]


def test_a_key_is_a_function_and_a_name_is_a_text() -> None:
    with pytest.raises(ConfigurationError, match="key= of a ConcurrencyLimit"):
        ConcurrencyLimit(1, key="customer")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="name= of a RateLimit"):
        RateLimit(1, per=1, name="")


def test_the_option_takes_one_limit_or_several_and_nothing_else() -> None:
    one = ConcurrencyLimit(5)
    assert limits_of(one) == limits_of([one]) == (one,)
    assert task_settings("t", {"limits": [one, RateLimit(1, per=60)]}, None).limits[0] is one
    for wrong in ([5], 5, None):
        with pytest.raises(ConfigurationError, match="limits= takes limits"):
            task_settings("t", {"limits": wrong}, None)  # type: ignore[typeddict-item]


def test_limits_of_one_name_must_say_the_same_numbers() -> None:
    two, rate = ConcurrencyLimit(2, name="api"), RateLimit(2, per=60, name="api")
    must_agree(
        [two, rate, ConcurrencyLimit(2, name="api", key=str), RateLimit(2, per=timedelta(minutes=1), name="api")]
    )
    must_agree([two, ConcurrencyLimit(3), ConcurrencyLimit(3, name="other")])
    for other in (ConcurrencyLimit(3, name="api"), RateLimit(2, per=61, name="api"), RateLimit(3, per=60, name="api")):
        with pytest.raises(ConfigurationError, match="'api'"):
            must_agree([two, rate, other])


def test_a_worker_refuses_a_task_whose_limit_has_the_name_of_another_with_other_numbers() -> None:
    worker, router = Worker("memory://", limits=RateLimit(9, per=1, name="all")), Router()
    worker.task(name="one", limits=ConcurrencyLimit(2, name="api"))(print)
    router.task(name="before")(print)
    router.task(name="two", limits=ConcurrencyLimit(3, name="api"))(print)
    for declare in (
        lambda: worker.task(name="three", limits=ConcurrencyLimit(3, name="api"))(print),
        lambda: worker.task(name="three", limits=RateLimit(8, per=1, name="all"))(print),
        lambda: worker.include(router),
    ):
        with pytest.raises(ConfigurationError, match="different numbers"):
            declare()
    assert set(worker.registry) == {"one"}
    worker.task(name="four", limits=ConcurrencyLimit(2, name="api"))(print)


def test_a_limit_says_what_it_is_without_its_key() -> None:
    limit = RateLimit(100, per=timedelta(minutes=1), key=lambda user: user, name="upstream")
    assert str(limit) == "at most 100 in 60 s for each key (upstream)"
    assert str(ConcurrencyLimit(5)) == "at most 5 at once"
    assert limit.per_ms == 60_000


def test_limits_of_one_name_are_one_limit_and_all_others_are_different() -> None:
    permit, rate = ConcurrencyLimit(5), RateLimit(5, per=1)
    named = ConcurrencyLimit(5, name="a")
    assert digest_of(named, "x") == digest_of(ConcurrencyLimit(7, name="a"), "y")
    others: list[tuple[Limit, str, object]] = [
        (permit, "a", None), (permit, "b", None), (rate, "a", None), (named, "", None), (permit, "a", ""),
        (permit, "a", 1), (permit, "a", "1"), (permit, "a", b"1"), (permit, "a", (1,)), (permit, "a", Plan.FREE),
        (permit, "a", Plan.PAID), (permit, "a", date(2026, 1, 1)), (permit, "a", datetime(2026, 1, 1, tzinfo=UTC)),
        (permit, "a", UUID(int=1)), (permit, "a", str(UUID(int=1))),
    ]  # fmt: skip
    assert len({digest_of(*one) for one in others}) == len(others)


@given(KEYS, KEYS)
def test_equal_keys_have_equal_digests_and_others_have_not(one: object, other: object) -> None:
    assert (digest(one) == digest(other)) is (repr(one) == repr(other))
    assert len(digest(one)) == 32


@pytest.mark.parametrize("key", [object(), [object()], {"a": object()}, print])
def test_what_is_not_the_same_in_every_process_is_no_key(key: object) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a key"):
        digest_of(ConcurrencyLimit(1), "t", key)


@given(st.binary(min_size=1), st.integers(1, 64))
def test_a_limit_has_its_home_in_one_of_the_partitions(name: bytes, partitions: int) -> None:
    assert 0 <= home_of(digest(name), partitions) < partitions


@given(st.integers(1_600_000_000_000, 2_000_000_000_000), st.integers(1_600_000_000_000, 2_000_000_000_000))
def test_in_a_line_a_higher_priority_goes_first_and_with_ageing_the_older_task(one: int, other: int) -> None:
    ranks = [rank_of(priority, due_ms=due, ageing_ms=0) for priority, due in ((0, one), (1, other))]
    assert sum(ranks[0]) <= ranks[1][0]
    high, low = (rank_of(priority, due_ms=due, ageing_ms=60_000) for priority, due in ((0, one), (1, other)))
    assert (high < low) is (one < other + 60_000)
    assert float(low[0]) + low[1] / 8192 > low[0]  # a score tells those of one millisecond apart


def test_who_stands_further_back_looks_less_often() -> None:
    looks = [look_ms(before) for before in (0, 1, 100, 10_000, 10**9)]
    assert looks == sorted(looks) and looks[0] == 5_000 and looks[-1] == LAST_LOOK_MS


@pytest.mark.parametrize("after", [-1, float("nan"), "30", 10**9])
def test_a_task_that_is_throttled_says_for_how_long(after: object) -> None:
    with pytest.raises(ConfigurationError, match="RateLimited"):
        RateLimited(after=after)  # type: ignore[arg-type]
