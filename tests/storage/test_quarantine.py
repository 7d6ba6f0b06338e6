"""quarantine: what does not open is moved aside with its reason, and nothing is thrown away."""

from __future__ import annotations

from typing import Any, cast

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.storage.verbs import LONG, OTHER, SEALED, TOKEN, everything, put, put_and_take, standing, take, tick

pytestmark = pytest.mark.anyio


async def entries(storage: RedisStorage, link: Link) -> list[dict[bytes, bytes]]:
    found = cast("list[Any]", await link.command("XRANGE", storage.keys.quarantine, "-", "+"))
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in found]


async def test_the_payload_is_moved_with_the_reason(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    assert await storage.quarantine(b"a", TOKEN, "bad-signature") is True
    [entry] = await entries(storage, link)
    assert entry.pop(b"at").isdigit()
    assert entry == {b"id": b"a", b"reason": b"bad-signature", b"size": b"%d" % len(SEALED), b"payload": SEALED}
    assert await standing(storage, b"a") is Standing.NOT_FOUND
    counts = await storage.counts()
    assert (counts.running, counts.quarantined) == (0, 1)


async def test_it_never_comes_back(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=1)
    await storage.quarantine(b"a", TOKEN, "bad-signature")
    await tick(storage)
    assert await take(storage, token=b"w.2") == []


async def test_a_lost_lease_is_refused_and_nothing_is_written(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    before = await everything(storage)
    assert await storage.quarantine(b"a", OTHER, "bad-signature") is False
    assert await everything(storage) == before
    assert await entries(storage, link) == []


async def test_a_repeated_call_keeps_one_record(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await storage.quarantine(b"a", TOKEN, "bad-signature")
    await storage.quarantine(b"a", TOKEN, "bad-signature")
    assert len(await entries(storage, link)) == 1


async def test_without_a_lease_a_payload_that_has_come_meanwhile_stays(storage: RedisStorage) -> None:
    await put(storage, b"a")
    assert await storage.quarantine(b"a", b"", "missing-payload") is False
    assert await standing(storage, b"a") is Standing.QUEUED


async def test_a_missing_payload_leaves_a_record_too(storage: RedisStorage, link: Link) -> None:
    assert await storage.quarantine(b"\xff\n", b"", "missing-payload") is True
    [entry] = await entries(storage, link)
    assert (entry[b"id"], entry[b"size"], entry[b"payload"]) == (b"\xff\n", b"0", b"")


async def test_of_a_large_payload_the_beginning_is_kept(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"a", b"x" * 5000)
    await storage.quarantine(b"a", TOKEN, "too-large")
    [entry] = await entries(storage, link)
    assert (entry[b"size"], len(entry[b"payload"])) == (b"5000", 1000)


async def test_the_record_is_limited(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secure_queue.redis.storage.QUARANTINE_ENTRIES", 3)
    for number in range(5):
        await storage.quarantine(b"%d" % number, b"", "missing-payload")
    assert (await storage.counts()).quarantined == 3


async def test_everything_beside_the_payload_goes_too(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await storage.watch("client", [b"a"])
    await storage.abort(b"a", sealed=b"x", ttl_ms=LONG, mark=b"mark")
    await storage.quarantine(b"a", TOKEN, "bad-signature")
    assert await link.command("EXISTS", storage.keys.bucket(b"a"), storage.keys.aborts, storage.keys.leases) == 0
