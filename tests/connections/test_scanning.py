"""The steps of an audit on the memory link and on a server: bounded replies, nothing missed, nothing changed."""

from __future__ import annotations

import pytest

from secure_queue.evidence import StoredField, StoredKey, Structure
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link
from secure_queue.redis.scanning import LONGEST_NAME, RedisScan

pytestmark = pytest.mark.anyio

KEYS = QueueKeys("scanned", ["high", "normal"])
LIMIT = 1000


@pytest.fixture
def scan(link: Link) -> RedisScan:
    return RedisScan(link, KEYS, LIMIT)


async def every_field(scan: RedisScan, key: bytes) -> dict[bytes, StoredField]:
    found, cursor = [], b"0"
    while True:
        cursor, some = await scan.fields(key, cursor)
        assert sum(len(field.untrusted) for field in some if isinstance(field.untrusted, bytes)) <= LIMIT
        found += some
        if cursor == b"0":
            return {field.untrusted_name: field for field in found}


async def every_other_key(scan: RedisScan) -> dict[bytes, StoredKey]:
    found, cursor = [], b"0"
    while True:
        cursor, some = await scan.other_keys(cursor)
        found += some
        if cursor == b"0":
            return {key.untrusted_key.removeprefix(KEYS.prefix): key for key in found}


async def test_no_reply_is_larger_than_one_value_and_none_is_missed(link: Link, scan: RedisScan) -> None:
    bucket = KEYS.buckets[0]
    for number in range(30):
        await link.command("HSET", bucket, b"t%d" % number, bytes(400))
    await link.command("HSET", bucket, "large", bytes(LIMIT + 1))
    await link.command("HSET", bucket, "n" * 5000, b"x")
    found = await every_field(scan, bucket)
    assert len(found) == 32
    assert found[b"large"].untrusted == LIMIT + 1
    assert b"n" * LONGEST_NAME in found
    left_out = [name for name, field in found.items() if field.untrusted is None]
    assert len(left_out) >= 27
    assert [await scan.peek(bucket, name) for name in left_out] == [bytes(400)] * len(left_out)
    assert await scan.peek(bucket, b"large") == LIMIT + 1
    assert await scan.peek(bucket, b"gone") is None


async def test_what_stands_beside_a_task_knows_whether_the_task_is_there(link: Link, scan: RedisScan) -> None:
    await link.command("HSET", KEYS.buckets[0], "a", "x", "!ra", "1:normal:", "!rb", "1:normal:")
    found = await every_field(scan, KEYS.buckets[0])
    assert {name: field.owned for name, field in found.items()} == {b"a": True, b"!ra": True, b"!rb": False}


async def test_fixed_keys_are_told_with_their_type(link: Link, scan: RedisScan) -> None:
    assert await scan.fixed_keys() == []
    await link.command("SET", KEYS.leases, "x")
    await link.command("ZADD", KEYS.dead, 1, "x")
    found = {key.structure: key for key in await scan.fixed_keys()}
    assert (found[Structure.LEASES].sound, found[Structure.LEASES].type) == (False, "string")
    assert found[Structure.DEAD].sound


async def test_other_keys_are_told_with_what_they_are(link: Link, scan: RedisScan) -> None:
    for name, value in ((b"result:a", bytes(400)), (b"result:b", bytes(LIMIT + 1)), (b"tasks:64", b"x"), (b"new", b"")):
        await link.command("SET", KEYS.prefix + name, value)
    await link.command("RPUSH", KEYS.prefix + b"ready:low", "x")
    await link.command("RPUSH", KEYS.ready["high"], "fixed, and therefore not told here")
    await link.command("SET", "sq:{scanned/0x}:result:a", "another queue")
    await link.command("SET", KEYS.misfit(KEYS.dead, b"00"), "x", "PX", 60_000)
    found = await every_other_key(scan)
    assert {name: key.structure for name, key in found.items()} == {
        b"result:a": Structure.RESULT,
        b"result:b": Structure.RESULT,
        b"tasks:64": Structure.STRAY,
        b"new": Structure.STRAY,
        b"ready:low": Structure.READY,
        b"misfit:00:dead": Structure.MISFIT,
    }
    assert (found[b"result:a"].untrusted, found[b"result:a"].ttl_ms) == (bytes(400), -1)
    assert found[b"result:b"].untrusted == LIMIT + 1
    assert 0 < found[b"misfit:00:dead"].ttl_ms <= 60_000


async def test_entries_come_in_pages_with_whether_their_task_is_stored(link: Link, scan: RedisScan) -> None:
    ids = [b"t%d" % number for number in range(1200)]
    for key, command in ((KEYS.ready["normal"], "RPUSH"), (KEYS.due["normal"], "ZADD")):
        for first in range(0, len(ids), 300):
            some = ids[first : first + 300]
            words = some if command == "RPUSH" else [word for task_id in some for word in (1, task_id)]
            await link.command(command, key, *words)
    await link.command("HSET", KEYS.bucket(b"t7"), b"t7", "x")
    await link.command("HSET", KEYS.bucket(b"t8"), b"!gt8", "1")  # aborted while it waited: its entry is no orphan
    for key in (KEYS.ready["normal"], KEYS.due["normal"]):
        found: list[tuple[bytes, bool]] = []
        while page := await scan.entries(key, len(found)):
            found += page
        assert {task_id for task_id, _ in found} == set(ids)
        assert {task_id for task_id, stored in found if stored} == {b"t7", b"t8"}


async def test_a_result_that_went_before_its_time_is_lost(link: Link, scan: RedisScan) -> None:
    seconds, _ = await link.command("TIME")  # type: ignore[misc]
    now = int(seconds) * 1000  # type: ignore[call-overload]
    await link.command("ZADD", KEYS.results, now + 60_000, "kept", now + 60_000, "lost", now - 60_000, "over")
    await link.command("SET", KEYS.result(b"kept"), "x")
    assert await scan.lost_results([b"kept", b"lost", b"over", b"never"]) == [b"lost"]


async def test_the_quarantine_comes_in_pages_that_fit(link: Link, scan: RedisScan) -> None:
    for number in range(7):
        fields = ("id", b"t%d" % number, "reason", "expired", "size", 400, "payload", bytes(400))
        await link.command("XADD", KEYS.quarantine, "*", *fields)
    await link.command("XADD", KEYS.quarantine, "*", "payload", bytes(LIMIT + 1), *["noise", "x"] * 50)
    found, after, pages = [], b"", 0
    while True:
        after, page = await scan.put_aside(after)
        if not page:
            break
        found += page
        pages += 1
        assert sum(len(entry.untrusted) for entry in page if isinstance(entry.untrusted, bytes)) <= LIMIT
    assert [entry.untrusted_id for entry in found] == [*(b"t%d" % number for number in range(7)), b""]
    assert found[-1].untrusted == LIMIT + 1
    assert pages >= 3


async def test_a_key_of_the_wrong_type_ends_its_walk_and_stays_where_it_is(link: Link, scan: RedisScan) -> None:
    await link.command("SADD", KEYS.buckets[0], "x")
    await link.command("SADD", KEYS.dead, "x")
    assert await scan.fields(KEYS.buckets[0], b"0") == (b"0", [])
    assert await scan.peek(KEYS.buckets[0], b"x") is None
    assert await scan.entries(KEYS.dead, 0) == []
    assert {key.structure for key in await scan.fixed_keys() if not key.sound} == {Structure.BUCKET, Structure.DEAD}


async def test_a_quarantine_whose_ids_are_used_up_has_an_end(link: Link, scan: RedisScan) -> None:
    await link.command("XADD", KEYS.quarantine, "18446744073709551615-18446744073709551615", "id", "a")
    after, entries = await scan.put_aside(b"")
    assert [entry.untrusted_id for entry in entries] == [b"a"]
    assert await scan.put_aside(after) == (b"", [])
