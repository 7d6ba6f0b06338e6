"""What is due sooner than workers look at it by themselves runs in time: calls, and retries."""

from __future__ import annotations

import pytest

from secure_queue import Retry
from secure_queue.execution import lanes
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio

SOON_S = 0.1


async def test_a_short_delay_does_not_wait_for_the_next_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "INTERVAL_S", 600.0)
    worker = place.worker()

    @worker.task
    async def call(kind: str) -> str:
        return kind

    @worker.task(unique="queued")
    async def once(kind: str) -> str:
        return kind

    @worker.task
    async def again() -> int:
        if again.context.tries == 1:
            raise Retry(delay=SOON_S)
        return again.context.tries

    async with running(worker):
        for kind in ("alone", "beside one that runs at once"):
            later = await call.enqueue(kind).start(delay=SOON_S)
            if kind != "alone":
                await call.enqueue("at once")
            assert (await later.result(PATIENCE)).result == kind
        keyed = await once.enqueue("with a key").start(delay=SOON_S)
        assert (await keyed.result(PATIENCE)).result == "with a key"
        assert (await (await again.enqueue()).result(PATIENCE)).result == 2
