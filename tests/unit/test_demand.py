"""How much is claimed: enough to keep the seats busy, no more than can be started soon."""

from __future__ import annotations

import pytest

from secure_queue.execution.demand import HORIZON_S, LARGEST_CLAIM, Pace, ahead, demand


@pytest.mark.parametrize(
    ("free", "waiting", "allowance", "expected"),
    [
        (4, 0, 0, 4),
        (4, 3, 0, 1),
        (0, 0, 0, 0),
        (0, 0, 5, 5),
        (2, 9, 5, 0),
        (10_000, 0, 0, LARGEST_CLAIM),
        (0, 100, 10, 0),
    ],
)
def test_a_claim_fills_seats_and_allowance(free: int, waiting: int, allowance: int, expected: int) -> None:
    assert demand(free, waiting, allowance) == expected


def test_a_fixed_prefetch_counts_and_the_pace_does_not() -> None:
    pace = Pace()
    pace.per_second = 100_000
    assert ahead(0, pace) == 0
    assert ahead(7, pace) == 7


def test_without_a_prefetch_the_pace_decides() -> None:
    pace = Pace()
    assert ahead(None, pace) == 0
    pace.per_second = 20_000
    assert ahead(None, pace) == 20_000 * HORIZON_S


def test_the_pace_follows_what_is_finished() -> None:
    pace = Pace()
    pace.note(0, 0.0)
    for second in range(1, 40):
        pace.note(100 * second, float(second))
    assert pace.per_second == pytest.approx(100, rel=0.01)
    for second in range(40, 80):
        pace.note(3900, float(second))
    assert pace.per_second < 1


def test_a_clock_that_stands_still_changes_nothing() -> None:
    pace = Pace()
    pace.note(10, 1.0)
    before = pace.per_second
    pace.note(20, 1.0)
    assert pace.per_second == before
