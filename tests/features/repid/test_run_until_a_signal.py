"""``await my_worker.run()`` runs until a signal: SIGINT and SIGTERM by default; none if it is told to leave them alone."""

from __future__ import annotations

import signal

import pytest

from tests.features.signals import ends_in_peace, heard_by_the_host
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_either_signal_ends_a_run_in_peace(place: Place, number: int) -> None:
    with heard_by_the_host() as heard:
        await ends_in_peace(place.worker(handle_signals=True), number)
    assert heard == []
