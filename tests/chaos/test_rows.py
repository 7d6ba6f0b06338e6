"""The rows of the acceptance table that every run of the suite plays; ``make chaos`` plays all of them."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from tests.chaos.case import play
from tests.chaos.rows import not_played, soak, table
from tests.servers import server_binary

BUSY = 3
"""The suite shares its machine with itself, so times and repetitions are bounded more loosely than in ``make chaos``."""

MOST, EARLY = 800, 0.2
"""The load goes on after the fault has struck for as long as in ``make chaos``, and begins less long before it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def is_kept(row: int, topology: str) -> None:
    """Play the first case of this row on this topology."""
    case = next(case for case in table(server_binary()) if (case.row, case.topology) == (row, topology))
    promise = case.promise
    patient = replace(
        promise,
        ack_gap_s=BUSY * promise.ack_gap_s,
        run_gap_s=BUSY * promise.run_gap_s,
        duplicates=BUSY * promise.duplicates,
    )
    load = replace(case.load, count=MOST)
    outcome = anyio.run(play, replace(case, promise=patient, load=load, strike_at=EARLY))
    assert outcome.broken == [], f"{outcome.verdict}; logs: {outcome.folder}"


def test_row_01_primary_killed() -> None:
    is_kept(1, "sentinel")


def test_row_02_primary_hangs_and_returns_as_a_zombie() -> None:
    is_kept(2, "sentinel")


def test_row_04_planned_failover() -> None:
    is_kept(4, "sentinel")


def test_row_12_shard_primary_killed() -> None:
    is_kept(12, "cluster")


def test_row_13_shard_primary_hangs() -> None:
    is_kept(13, "cluster")


def test_row_15_slot_migration_under_load() -> None:
    is_kept(15, "cluster")


def test_row_19_worker_killed() -> None:
    is_kept(19, "standalone")


def test_row_22_memory_limit() -> None:
    is_kept(22, "sentinel")


def test_every_row_has_its_number_and_is_either_played_or_told_to_wait() -> None:
    played = {case.row for case in (*table(server_binary()), *soak(1, 0))}
    told = not_played(server_binary()).keys()
    assert played | told == set(range(1, 37))
    assert not played & told
