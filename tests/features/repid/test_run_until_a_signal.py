"""``await my_worker.run()`` runs until a signal: SIGINT and SIGTERM by default; none if it is told to leave them alone."""

from __future__ import annotations

import os
import signal

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_either_signal_ends_a_run_in_peace(place: Place, number: signal.Signals) -> None:
    worker, ended = place.worker(handle_signals=True), list[str]()
    before = signal.signal(number, lambda *_: ended.append("the host's own handler"))
    try:

        @worker.actor
        async def job() -> None:
            os.kill(os.getpid(), number)
            await anyio.sleep(0.05)  # work that is left when the signal comes
            ended.append("the job")

        async with worker:
            await job.enqueue()
            with anyio.fail_after(PATIENCE):
                await worker.run_async()
            assert ended == ["the job"]
    finally:
        signal.signal(number, before)
