"""``priorities``: a list from lowest to highest. ⚠ streaQ turns the caller's own list round; here it stays as it is."""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_higher_ones_are_served_first_and_the_list_is_left_alone(place: Place) -> None:
    priorities = ["low", "medium", "high"]
    workers = [place.worker(priorities=priorities, concurrency=1, prefetch=0) for _ in range(2)]
    assert priorities == ["low", "medium", "high"]
    ran: list[str] = []

    @workers[0].task(name="note")
    async def note(word: str) -> None:
        ran.append(word)

    producer = workers[1]
    async with producer:
        tasks = [producer.enqueue_by_name("note", name).start(priority=name) for name in ("low", "high", "medium")]
        tasks.append(producer.enqueue_by_name("note", "unsaid"))
        await producer.enqueue_many(tasks)
        async with running(workers[0]):
            for task in tasks:
                await task.result(timeout=PATIENCE)
    assert ran == ["high", "medium", "low", "unsaid"]
    assert priorities == ["low", "medium", "high"]
