"""``signing_secret="…"``: data is verified before it reaches the deserializer; what does not pass is never deserialized."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_the_deserializer_sees_what_is_genuine_and_nothing_else(place: Place) -> None:
    seen: list[str] = []

    def loads(text: str) -> Any:
        seen.append(text)
        return json.loads(text)

    worker = place.worker(serializer=json.dumps, deserializer=loads)

    @worker.task(name="echo")
    async def echo(word: str) -> str:
        return word

    stranger = place.worker(signing_secret="Zx4kQ9vT1bLw7RmY2cNd8HsJ5gPf0aUe3oXiVqB6KtE")
    async with worker, stranger:
        task = await echo.enqueue("genuine")
        sealed: Any = await place.link.command("HGET", place.keys.bucket(task.id.encode()), task.id)
        changed = sealed.replace(b"genuine", b"altered")
        await place.link.command("HSET", place.keys.bucket(task.id.encode()), task.id, changed)
        await place.put_raw(b"plain", json.dumps([["plain"], {}]).encode().ljust(200))
        foreign = await stranger.enqueue_by_name("echo", "foreign")
    expected = {task.id.encode(): "bad-signature", b"plain": "not-an-envelope", foreign.id.encode(): "unknown-key"}
    async with running(worker):
        last = await echo.enqueue("last")
        assert (await last.result(timeout=PATIENCE)).result == "last"
        await eventually(lambda: are_put_aside(place, expected))
    assert changed != sealed
    assert seen[0] == json.dumps([["last"], {}])
    assert not [text for text in seen if "altered" in text or "plain" in text or "foreign" in text]


async def are_put_aside(place: Place, expected: dict[bytes, str]) -> bool:
    return await place.quarantine() == expected
