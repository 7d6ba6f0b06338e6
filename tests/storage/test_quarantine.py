"""quarantine: what does not open is moved aside with its reason, and nothing is thrown away."""

from __future__ import annotations

from typing import Any, cast

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import End, Refused, Standing
from tests.storage.verbs import (
    LONG,
    OTHER,
    SEALED,
    TOKEN,
    everything,
    put,
    put_and_take,
    refused,
    standing,
    take,
    tick,
)

pytestmark = pytest.mark.anyio


async def entries(storage: RedisStorage, link: Link) -> list[dict[bytes, bytes]]:
    found = cast("list[Any]", await link.command("XRANGE", storage.keys.quarantine, "-", "+"))
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in found]


async def test_the_payload_is_moved_with_the_reason(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    assert await refused(storage, b"a", TOKEN, "bad-signature", "5ea1") is True
    [entry] = await entries(storage, link)
    assert entry.pop(b"at").isdigit()
    facts = {b"reason": b"bad-signature", b"size": b"%d" % len(SEALED), b"sha256": b"5ea1"}
    assert entry == {b"id": b"a", b"payload": SEALED, **facts}
    assert await standing(storage, b"a") is Standing.NOT_FOUND
    counts = await storage.counts()
    assert (counts.running, counts.quarantined) == (0, 1)


async def test_each_of_many_has_its_own_answer(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", b"b", b"c")
    cases = [Refused(b"a", TOKEN, "expired"), Refused(b"b", OTHER, "expired"), Refused(b"c", TOKEN, "bad-signature")]
    assert await storage.quarantine([*cases, Refused(b"d", b"", "missing-payload"), cases[0]]) == [
        *(True, False, True),
        *(True, False),
    ]
    told = [(entry[b"id"], entry[b"reason"]) for entry in await entries(storage, link)]
    assert told == [(b"a", b"expired"), (b"c", b"bad-signature"), (b"d", b"missing-payload")]
    assert await standing(storage, b"b") is Standing.RUNNING


async def test_it_never_comes_back(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=1)
    await refused(storage, b"a", TOKEN, "bad-signature")
    await tick(storage)
    assert await take(storage, token=b"w.2") == []


async def test_a_lost_lease_is_refused_and_nothing_is_written(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    before = await everything(storage)
    assert await refused(storage, b"a", OTHER, "bad-signature") is False
    assert await everything(storage) == before
    assert await entries(storage, link) == []


async def test_a_repeated_call_keeps_one_record(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await refused(storage, b"a", TOKEN, "bad-signature")
    await refused(storage, b"a", TOKEN, "bad-signature")
    assert len(await entries(storage, link)) == 1


async def test_without_a_lease_a_payload_that_has_come_meanwhile_stays(storage: RedisStorage) -> None:
    await put(storage, b"a")
    assert await refused(storage, b"a", b"", "missing-payload") is None
    assert await standing(storage, b"a") is Standing.QUEUED


@pytest.mark.parametrize("keep", [LONG, b"a mark"], ids=["kept", "not kept"])
async def test_a_second_entry_of_a_task_that_has_finished_is_no_evidence(
    storage: RedisStorage, link: Link, keep: int | bytes
) -> None:
    await put_and_take(storage, b"a")
    await storage.complete([End(b"a", TOKEN, keep, b"result")])
    assert await refused(storage, b"a", b"", "missing-payload") is None
    assert await entries(storage, link) == []


async def test_a_missing_payload_leaves_a_record_too(storage: RedisStorage, link: Link) -> None:
    assert await refused(storage, b"\xff\n", b"", "missing-payload") is True
    [entry] = await entries(storage, link)
    assert (entry[b"id"], entry[b"size"], entry[b"payload"]) == (b"\xff\n", b"0", b"")


async def test_of_a_large_payload_the_beginning_is_kept(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"a", b"x" * 5000)
    await refused(storage, b"a", TOKEN, "too-large")
    [entry] = await entries(storage, link)
    assert (entry[b"size"], len(entry[b"payload"])) == (b"5000", 1000)


async def test_the_oldest_evidence_goes_when_there_are_too_many_entries(
    storage: RedisStorage, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.redis.storage.QUARANTINE_ENTRIES", 3)
    for number in range(5):
        await refused(storage, b"%d" % number, b"", "missing-payload")
    assert [entry[b"id"] for entry in await entries(storage, link)] == [b"2", b"3", b"4"]
    assert all(await storage.quarantine([Refused(b"%d" % number, b"", "missing-payload") for number in range(5, 40)]))
    assert [entry[b"id"] for entry in await entries(storage, link)] == [b"37", b"38", b"39"]


async def test_the_oldest_evidence_goes_when_there_are_too_many_bytes(
    storage: RedisStorage, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.redis.storage.QUARANTINE_BYTES", 3000)
    for number in range(20):
        name = b"%d" % number
        await put_and_take(storage, name, token=b"w.%d" % number)
        await link.command("HSET", storage.keys.bucket(name), name, b"x" * 900)
        await refused(storage, name, b"w.%d" % number, "bad-signature")
    assert [entry[b"id"] for entry in await entries(storage, link)] == [b"17", b"18", b"19"]


@pytest.mark.parametrize("count", ["inf", "1e400", "nan", "-5", "abc", "99999999999999999999"])
async def test_a_forged_count_of_bytes_costs_no_evidence(storage: RedisStorage, link: Link, count: str) -> None:
    await refused(storage, b"0", b"", "missing-payload")
    await link.command("HSET", storage.keys.meta, "quarantined", count)
    for number in range(1, 4):
        await refused(storage, b"%d" % number, b"", "missing-payload")
    assert len(await entries(storage, link)) == 4


async def test_evidence_is_kept_for_a_month(storage: RedisStorage, link: Link) -> None:
    await link.command("XADD", storage.keys.quarantine, "1-1", "id", "of 1970")
    await refused(storage, b"a", b"", "missing-payload")
    assert [entry[b"id"] for entry in await entries(storage, link)] == [b"a"]
    left = cast("int", await link.command("PTTL", storage.keys.quarantine))
    assert 29 * 86_400_000 < left <= 30 * 86_400_000


async def test_a_stream_whose_ids_are_used_up_is_moved_aside(storage: RedisStorage, link: Link) -> None:
    await link.command("XADD", storage.keys.quarantine, f"{2**64 - 1}-{2**64 - 1}", "id", "the last one")
    cases = [Refused(name, b"", "missing-payload") for name in (b"a", b"b")]
    assert await storage.quarantine(cases) == [True, True]
    assert [entry[b"id"] for entry in await entries(storage, link)] == [b"a", b"b"]
    [aside] = cast("list[bytes]", await link.command("KEYS", storage.keys.misfit(storage.keys.quarantine, b"*")))
    assert await link.command("XLEN", aside) == 1


async def test_everything_beside_the_payload_goes_too(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await storage.watch("client", [b"a"])
    await storage.abort(b"a", sealed=b"x", ttl_ms=LONG, mark=b"mark")
    await refused(storage, b"a", TOKEN, "bad-signature")
    assert await link.command("EXISTS", storage.keys.bucket(b"a"), storage.keys.aborts, storage.keys.leases) == 0
