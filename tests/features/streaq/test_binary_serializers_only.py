"""streaQ signs the output of binary serializers only. ⚠ Here its example with JSON and its example with a secret combine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_text_is_signed_and_bound_to_its_place_like_everything_else(place: Place) -> None:
    worker = place.worker(serializer=json.dumps, deserializer=json.loads, signing_secret=SECRET)

    @worker.task
    async def greet(name: str) -> str:
        return f"hello {name}"

    async with worker:
        task, victim = await greet.enqueue("you"), await greet.enqueue("Bob")
        stored: Any = await place.link.command("HGET", place.keys.bucket(victim.id.encode()), victim.id)
        assert b"Bob" in stored
        await place.link.command(
            "HSET", place.keys.bucket(victim.id.encode()), victim.id, stored.replace(b"Bob", b"Eve")
        )
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == "hello you"
        await eventually(lambda: is_put_aside(place, victim.id.encode()))


async def is_put_aside(place: Place, task_id: bytes) -> bool:
    return await place.quarantine() == {task_id: "bad-signature"}
