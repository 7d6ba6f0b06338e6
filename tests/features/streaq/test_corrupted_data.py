"""Corrupted data from Redis "will not be unpickled": that task is put aside with its reason, and the worker lives on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_a_flipped_bit_costs_its_own_task_only(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with worker:
        tasks = [await double.enqueue(number) for number in range(3)]
        victim = tasks[1].id.encode()
        sealed: Any = await place.link.command("HGET", place.keys.bucket(victim), victim)
        flipped = sealed[:-40] + bytes([sealed[-40] ^ 1]) + sealed[-39:]
        await place.link.command("HSET", place.keys.bucket(victim), victim, flipped)
    async with running(worker):
        assert [(await tasks[n].result(timeout=PATIENCE)).result for n in (0, 2)] == [0, 4]
        await eventually(lambda: is_put_aside(place, victim))


async def is_put_aside(place: Place, task_id: bytes) -> bool:
    return await place.quarantine() == {task_id: "bad-signature"}
