"""``messages_limit``: a worker takes so many messages and ends; without one it takes any number."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_so_many_run_and_the_rest_waits_for_another_worker(place: Place) -> None:
    worker, ran = place.worker(messages_limit=3), list[int]()

    @worker.actor
    async def note(number: int) -> None:
        ran.append(number)

    async with worker:
        await worker.enqueue_many([note.enqueue(number) for number in range(10)])
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
        assert sorted(ran) == [0, 1, 2]
        assert await worker.queue_size() == 7
    assert Worker("memory://").messages_limit is None
