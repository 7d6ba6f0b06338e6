"""Settings are checked once, on entry."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest

from secure_queue import settings
from secure_queue.errors import ConfigurationError
from secure_queue.settings import (
    TaskSettings,
    lifetime_of,
    positive_seconds,
    queue_settings,
    with_concurrency,
    worker_settings,
)

GOOD: dict[str, Any] = {
    "worker_id": None,
    "concurrency": 16,
    "sync_concurrency": None,
    "prefetch": None,
    "idle_timeout": 60,
    "grace_period": 25,
    "handle_signals": (),
}


def test_the_priorities_are_given_lowest_first_and_kept_highest_first() -> None:
    queue = queue_settings("{q}", ["low", "mid", "high"])
    assert (queue.queue_name, queue.priorities, queue.lowest_priority) == ("q", ("high", "mid", "low"), "low")


def test_the_lowest_priority_is_the_usual_one_unless_another_is_named() -> None:
    assert queue_settings("q", ["low", "mid", "high"]).default_priority == "low"
    assert queue_settings("q", ["low", "mid", "high"], default_priority="mid").default_priority == "mid"


def test_without_priorities_there_is_one() -> None:
    assert queue_settings("q", None).priorities == ("normal",)


@pytest.mark.parametrize("priorities", [[], ["a", "a"], ["a b"], [""]])
def test_priorities_that_make_no_sense_are_refused(priorities: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        queue_settings("q", priorities)


def test_good_arguments_become_one_frozen_value() -> None:
    made = worker_settings(**GOOD | {"idle_timeout": timedelta(minutes=2), "grace_period": 0})
    assert (made.idle_timeout_s, made.grace_period_s, made.sync_concurrency) == (120.0, 0.0, 16)
    with pytest.raises(FrozenInstanceError):
        made.concurrency = 1  # type: ignore[misc]


def test_a_worker_without_an_id_gets_one_of_its_own() -> None:
    ids = {worker_settings(**GOOD).worker_id for _ in range(50)}
    assert len(ids) == 50
    assert worker_settings(**GOOD | {"worker_id": "w1"}).worker_id == "w1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"worker_id": "a b"},
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"concurrency": True},
        {"sync_concurrency": -1},
        {"prefetch": -1},
        {"idle_timeout": 0.9},
        {"idle_timeout": timedelta(days=1, seconds=1)},
        {"idle_timeout": "60"},
        {"idle_timeout": float("nan")},
        {"grace_period": -1},
        {"grace_period": float("inf")},
    ],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        worker_settings(**GOOD | wrong)


def test_other_seats_take_sync_tasks_along_unless_those_had_a_number_of_their_own() -> None:
    assert with_concurrency(worker_settings(**GOOD), 3).sync_concurrency == 3
    own = worker_settings(**GOOD | {"sync_concurrency": 5})
    assert (with_concurrency(own, 3).concurrency, with_concurrency(own, 3).sync_concurrency) == (3, 5)
    with pytest.raises(ConfigurationError):
        with_concurrency(own, 0)


@pytest.mark.parametrize(
    ("ttl_s", "expected"), [(None, -1), (0, 0), (1.5, 1500), (0.0001, 0), (1e300, 100 * 365 * 86_400_000)]
)
def test_the_lifetime_of_a_result_in_milliseconds(ttl_s: float | None, expected: int) -> None:
    assert TaskSettings("t", ttl_s=ttl_s).ttl_ms == expected


@pytest.mark.parametrize(("expire_s", "expected"), [(None, 604_800), (0.3, 1), (2.0, 2), (2.4, 3)])
def test_a_part_of_a_second_of_a_lifetime_counts_as_a_whole_one(expire_s: float | None, expected: int) -> None:
    assert lifetime_of(TaskSettings("t", expire_s=expire_s)) == expected


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), timedelta(days=-1), timedelta.max])
def test_durations_out_of_range_are_refused(duration: float | timedelta) -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        positive_seconds("ttl", duration, zero=True)


def test_zero_is_a_duration_only_where_it_makes_sense() -> None:
    assert positive_seconds("ttl", 0, zero=True) == 0
    with pytest.raises(ConfigurationError):
        positive_seconds("timeout", 0)


def test_the_environment_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (settings.URL_VARIABLE, settings.KEYS_VARIABLE, settings.KEYS_FILE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    assert settings.environment() == settings.Environment(None, None, None)
    monkeypatch.setenv(settings.URL_VARIABLE, "redis://example")
    assert settings.environment().url == "redis://example"
