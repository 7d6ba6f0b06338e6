"""One command consumes all configured queues: here those whose objects it names, in their order."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import serve
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_the_first_queue_is_served_first_and_the_other_all_the_same(place: Place) -> None:
    queues = [place.worker(queue_name=name, concurrency=1) for name in ("system-tasks", "background-tasks")]
    ran: list[str] = []
    for worker in queues:
        worker.task(name="note")(lambda worker=worker: ran.append(worker.queue_name))
        worker.burst = True
    async with queues[0], queues[1]:
        for worker in reversed(queues):
            await worker.enqueue_many([worker.enqueue_by_name("note") for _ in range(3)])
        with anyio.fail_after(PATIENCE):
            await serve(*queues)
    assert (ran[0], sorted(ran)) == ("system-tasks", ["background-tasks"] * 3 + ["system-tasks"] * 3)
