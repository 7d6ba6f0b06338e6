"""``handle_signals``: True by default. ⚠ streaQ stores False and never reads it; here such a worker leaves signals alone."""

from __future__ import annotations

import os
import signal

import pytest

from secure_queue import Worker
from tests.features.signals import ends_in_peace, heard_by_the_host
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_worker_that_leaves_signals_to_its_host_runs_on(place: Place) -> None:
    worker = place.worker(handle_signals=False)

    @worker.task
    async def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    with heard_by_the_host() as heard:
        async with running(worker):
            assert (await (await interrupt.enqueue()).result(timeout=PATIENCE)).success
            assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
    assert heard == [signal.SIGTERM]


async def test_by_default_the_first_signal_ends_it_in_peace(place: Place) -> None:
    with heard_by_the_host() as heard:
        await ends_in_peace(place.worker(handle_signals=True), signal.SIGTERM)
    assert heard == []
    assert Worker("memory://")._settings.handle_signals
