"""Priorities are served 10/3/1. Here they are strict, with ageing if one wants; queues are served by weight, these too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from secure_queue import Worker, serve
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_three_queues_share_one_worker_as_ten_to_three_to_one(place: Place) -> None:
    ran: list[str] = []

    def one(name: str) -> Worker[Any]:
        worker = place.worker(queue_name=name)

        @worker.actor(name="note")
        async def note() -> None:
            ran.append(name)

        worker.burst = True
        return worker

    queues = [one(name) for name in ("high", "medium", "low")]
    for worker in queues:
        async with worker:
            await worker.enqueue_many([worker.enqueue_by_name("note") for _ in range(30)])
    with anyio.fail_after(PATIENCE):
        await serve(*queues, weights=(10, 3, 1), concurrency=1)
    assert Counter(ran) == {"high": 30, "medium": 30, "low": 30}
    share = Counter(ran[:28])  # 20, 6 and 2, but for the border where one of them begins first
    assert share["high"] >= 17 and share["medium"] <= 8 and 1 <= share["low"] <= 4, share
