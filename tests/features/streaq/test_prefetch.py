"""``prefetch``: how many tasks are claimed ahead; ``0`` turns it off. ⚠ streaQ takes 0 for the default, which is 32."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from tests.servers import eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("prefetch", [0, 3])
async def test_a_busy_worker_holds_what_it_runs_and_so_many_more(place: Place, prefetch: int) -> None:
    worker = place.worker(concurrency=2, prefetch=prefetch)
    busy, proceed = [anyio.Event(), anyio.Event()], anyio.Event()

    @worker.task
    async def wait(number: int) -> None:
        if number < 2:
            busy[number].set()
        await proceed.wait()

    async with worker:
        await worker.enqueue_many([wait.enqueue(number) for number in range(10)])
    async with running(worker):
        for event in busy:
            await event.wait()
        await eventually(lambda: holds(worker, 2 + (prefetch + 1) // 2))  # it claims again when half of them are gone
        counts = await worker.counts()
        assert counts.running <= 2 + prefetch
        assert counts.running + sum(counts.ready.values()) == 10
        proceed.set()
        await eventually(lambda: holds_nothing(worker))


async def holds(worker: Worker[Any], count: int) -> bool:
    return (await worker.counts()).running >= count


async def holds_nothing(worker: Worker[Any]) -> bool:
    return (await worker.counts()).running == 0
