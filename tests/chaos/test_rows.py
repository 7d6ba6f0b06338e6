"""The rows of the acceptance table that every run of the suite plays; ``make chaos`` plays all of them."""

from __future__ import annotations

import anyio
import pytest

from tests.chaos.case import play
from tests.chaos.rows import NOT_YET, soak, table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def is_kept(row: int, topology: str) -> None:
    """Play the first case of this row on this topology."""
    case = next(case for case in table() if (case.row, case.topology) == (row, topology))
    outcome = anyio.run(play, case)
    assert outcome.broken == [], f"{outcome.verdict}; logs: {outcome.folder}"


def test_row_15_slot_migration_under_load() -> None:
    is_kept(15, "cluster")


def test_row_19_worker_killed() -> None:
    is_kept(19, "standalone")


def test_row_22_memory_limit() -> None:
    is_kept(22, "sentinel")


def test_every_row_has_its_number_and_is_either_played_or_told_to_wait() -> None:
    played = {case.row for case in (*table(), *soak(1, 0))}
    assert played | NOT_YET.keys() == set(range(1, 37))
    assert not played & NOT_YET.keys()
