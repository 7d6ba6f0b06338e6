"""``handle_signals``: True by default. ⚠ streaQ stores False and never reads it; here such a worker leaves signals alone."""

from __future__ import annotations

import os
import signal

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_worker_that_leaves_signals_to_its_host_runs_on(place: Place) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        worker = place.worker(handle_signals=False)

        @worker.task
        async def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        @worker.task
        async def double(number: int) -> int:
            return 2 * number

        async with running(worker):
            assert (await (await interrupt.enqueue()).result(timeout=PATIENCE)).success
            assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


async def test_by_default_the_first_signal_ends_it_in_peace(place: Place) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        worker = place.worker(handle_signals=True)

        @worker.task
        async def interrupt() -> str:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep(0.05)  # it may go on to its end
            return "to its end"

        async with worker:
            task = await interrupt.enqueue()
            with anyio.fail_after(PATIENCE):
                await worker.run_async()
            assert (await task.result(timeout=PATIENCE)).result == "to its end"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == []
    assert Worker("memory://")._settings.handle_signals
