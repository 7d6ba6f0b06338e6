"""Pauses and ageing: what a claim leaves alone, and what it takes first."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from secure_queue import clock
from secure_queue.keyed import Keyed
from secure_queue.pausing import MOST_PAUSES, Shelved, Shelving
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Memory
from secure_queue.storage import NewTask, Standing
from tests.servers import PATIENCE, eventually
from tests.storage.conftest import KEYS
from tests.storage.verbs import LONG, MARK, RESULT, TOKEN, created, ids_of, put, put_and_take, standing, take, tick

pytestmark = pytest.mark.anyio


async def test_nothing_of_a_paused_queue_is_claimed(storage: RedisStorage) -> None:
    await put(storage, b"a")
    await put(storage, b"b", priority="high")
    assert await storage.pause({"*": 0})
    assert await storage.claim("w", b"w.1", 10, LONG) == (False, [])
    assert await storage.untrusted_pauses() == {"*": 0}
    assert [await storage.resume("*") for _ in range(2)] == [True, False]
    assert ids_of(await take(storage, token=b"w.2")) == [b"b", b"a"]


async def test_a_paused_priority_stays_while_the_others_go_on(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"low")
    await put(storage, b"high", priority="high")
    await storage.pause({"p:high": 0, "t:mail": LONG})
    assert ids_of(await take(storage)) == [b"low"]
    assert await link.command("EXISTS", storage.keys.wake) == 0  # there is nothing to wake up for
    assert set(await storage.untrusted_pauses()) == {"p:high", "t:mail"}
    await storage.resume("p:high")
    assert await link.command("EXISTS", storage.keys.wake) == 1
    assert ids_of(await take(storage, token=b"w.2")) == [b"high"]


async def test_a_repeated_claim_gets_its_tasks_in_spite_of_a_pause(storage: RedisStorage) -> None:
    await put(storage, b"a")
    before = await take(storage)
    await storage.pause({"*": 0})
    assert await take(storage) == before


async def test_a_pause_ends_by_itself_and_is_cleared_away(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"a")
    await storage.pause({"*": 30, "t:mail": 0})

    async def is_over() -> bool:
        return await storage.untrusted_pauses() == {"t:mail": 0}

    await eventually(is_over)
    assert ids_of(await take(storage)) == [b"a"]
    assert await link.command("HKEYS", storage.keys.paused) == [b"t:mail"]


async def test_there_are_never_too_many_pauses(storage: RedisStorage, link: Link) -> None:
    assert await storage.pause({f"t:{number}": 0 for number in range(MOST_PAUSES)})
    assert not await storage.pause({"*": 0})
    assert await storage.pause({"t:1": LONG})  # one that is there is changed
    junk: list[Any] = [part for number in range(11_000) for part in (f"junk{number}", "0")]
    await link.command("HSET", storage.keys.paused, *junk)
    assert await storage.untrusted_pauses() == {}


# Tasks whose name is paused


async def shelve(storage: RedisStorage, *ids: bytes, token: bytes = TOKEN, what: str = "t:mail") -> Sequence[Shelved]:
    return await storage.shelve("low", [Shelving(task_id, token, what) for task_id in ids])


async def test_what_is_laid_aside_comes_back_in_order_with_the_end_of_its_pause(
    storage: RedisStorage, link: Link
) -> None:
    ids = [b"e", b"b", b"d", b"a", b"c"]
    await put_and_take(storage, *ids)
    await put_and_take(storage, b"other", token=b"w.2")
    await put(storage, b"later")
    await storage.pause({"t:mail": 0, "t:sms": LONG})
    assert await shelve(storage, *ids[:2], b"gone") == [Shelved.ASIDE, Shelved.ASIDE, Shelved.LOST]
    assert await shelve(storage, *ids) == [Shelved.ASIDE] * 5  # a lost reply, and those behind
    assert await shelve(storage, b"other", token=b"w.2", what="t:sms") == [Shelved.ASIDE]
    record = await storage.look_up(b"d")
    assert (record.standing, record.tries) == (Standing.QUEUED, 0)
    counts = await storage.counts()
    assert (counts.shelved, counts.running) == ({"high": 0, "low": 6}, 0)
    listed = [await storage.list_ids(Standing.QUEUED, priority="low", offset=n, limit=4) for n in (0, 4)]
    assert sorted(listed[0] + listed[1]) == sorted([*ids, b"other", b"later"]) and listed[0][0] == b"later"
    assert (await tick(storage)).promoted == 0
    assert ids_of(await take(storage, token=b"w.3")) == [b"later"]
    assert await link.command("EXISTS", storage.keys.wake) == 0
    await put(storage, b"last")
    assert [await storage.resume("t:mail") for _ in range(2)] == [True, False]
    assert await link.command("EXISTS", storage.keys.wake) == 1
    assert ids_of(await take(storage, token=b"w.4")) == [*ids, b"last"]
    assert (await storage.counts()).shelved == {"high": 0, "low": 1}


async def test_a_task_whose_pause_has_ended_meanwhile_stays_with_its_holder(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await shelve(storage, b"a") == [Shelved.OVER]
    assert await standing(storage, b"a") is Standing.RUNNING
    assert await shelve(storage, b"a", token=b"stale") == [Shelved.LOST]


async def test_aborting_what_was_laid_aside_leaves_nothing_of_it(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", b"b")
    await storage.pause({"t:mail": 0})
    await shelve(storage, b"a", b"b")
    assert await storage.abort(b"a", sealed=RESULT, ttl_ms=LONG, mark=MARK) == "aborted"
    assert (await storage.counts()).shelved == {"high": 0, "low": 1}
    assert await link.command("HKEYS", storage.keys.bucket(b"a")) in ([], [b"b", b"!rb"])
    await storage.resume("t:mail")
    assert ids_of(await take(storage, token=b"w.2")) == [b"b"]


async def test_what_was_laid_aside_comes_back_when_its_pause_was_lost(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", b"b")
    await storage.pause({"t:mail": 0})
    await shelve(storage, b"a", b"b")
    await link.command("DEL", storage.keys.paused)
    await link.command("ZADD", storage.keys.shelf["low"], 0, "junk", 1, b"\xff" * 50, 2, "0:")
    await tick(storage)
    assert await link.command("EXISTS", storage.keys.wake) == 1
    assert ids_of(await take(storage, token=b"w.2")) == [b"a", b"b"]
    assert (await storage.counts()).shelved == {"high": 0, "low": 0}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("link", ["server"], indirect=True)
async def test_of_very_much_that_was_laid_aside_the_rest_follows_in_order(storage: RedisStorage, link: Link) -> None:
    fill = """for i = 1, tonumber(ARGV[1]) do
      redis.call('ZADD', KEYS[1], 0, redis.sha1hex('t:mail') .. ':' .. string.format('%016d:%06d', i, i))
    end"""
    await link.command("EVAL", fill, 1, storage.keys.shelf["low"], 40_000)
    await put(storage, b"later")
    await storage.pause({"t:mail": 0})
    await storage.resume("t:mail")
    expected = [b"%06d" % number for number in range(1, 40_001)]
    expected.insert(20_000, b"later")
    assert await link.command("LRANGE", storage.keys.ready["low"], 0, -1) == expected[:20_001]
    await tick(storage)
    await tick(storage)
    assert await link.command("LRANGE", storage.keys.ready["low"], 0, -1) == expected
    assert b"unshelved" not in b" ".join(await link.command("HKEYS", storage.keys.meta))  # type: ignore[arg-type]


async def test_the_first_of_a_line_that_was_laid_aside_lies_there_once(storage: RedisStorage) -> None:
    lined = [Keyed(one, b"sealed", 0, "low", b"", "", 0, False, 0, b"o" + b"1" * 32) for one in (b"a", b"b")]
    await storage.enqueue_keyed(lined, PATIENCE)
    assert ids_of(await take(storage)) == [b"a"]
    await storage.pause({"t:mail": 0})
    await shelve(storage, b"a")
    await tick(storage)
    assert ids_of(await take(storage, token=b"w.2")) == []
    await storage.resume("t:mail")
    assert ids_of(await take(storage, token=b"w.3")) == [b"a"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_end_of_a_pause_behind_which_something_waits_is_told_and_kept() -> None:
    hands = [1_900_000_000_000]
    with clock.wall_clock(lambda: hands[0] * 1_000_000):
        async with open_link(Memory()) as link:
            storage = RedisStorage(link, KEYS)
            await put_and_take(storage, b"a")
            await storage.pause({"t:mail": 500, "t:sms": 100, "*": 300, "p:high": 0})
            assert (await tick(storage)).next_due_ms is None  # nothing waits behind any of them
            await shelve(storage, b"a")
            assert (await tick(storage)).next_due_ms == 500
            await put(storage, b"b")
            assert (await tick(storage)).next_due_ms == 300
            hands[0] += 300
            await link.command("DEL", KEYS.wake)
            assert (await tick(storage)).next_due_ms == 200
            assert await link.command("EXISTS", KEYS.wake) == 1
            assert ids_of(await take(storage, token=b"w.2")) == [b"b"]
            hands[0] += 200
            assert (await tick(storage)).next_due_ms is None
            assert ids_of(await take(storage, token=b"w.3")) == [b"a"]
            assert await link.command("HKEYS", KEYS.paused) == [b"p:high"], "that has no end, and is told of by none"


# Ageing


def sealed(due_ms: int) -> bytes:
    """The beginning of an envelope of that moment."""
    return b"x" * 16 + struct.pack(">HII", due_ms >> 32, due_ms & 0xFFFFFFFF, 0) + b"x" * 20


def ageing(storage: RedisStorage, ms: int) -> RedisStorage:
    return RedisStorage(storage._link, storage.keys, max_payload_bytes=1000, ageing_ms=ms)


async def now_of(link: Link) -> int:
    seconds, micros = await link.command("TIME")  # type: ignore[misc]
    return int(seconds) * 1000 + int(micros) // 1000  # type: ignore[arg-type]


async def test_a_task_that_has_waited_long_enough_goes_before_a_higher_priority(
    storage: RedisStorage, link: Link
) -> None:
    now = await now_of(link)
    old, middle, young = (sealed(now - age) for age in (600_000, 290_000, 0))
    await created(storage, [NewTask(b"old", old, 0, "low"), NewTask(b"l2", middle, 0, "low")])
    await created(storage, [NewTask(b"h1", young, 0, "high"), NewTask(b"h2", young, 0, "high")])
    old_enough = ageing(storage, 300_000)
    assert ids_of(await take(old_enough, 1)) == [b"old"]
    assert ids_of(await take(old_enough, 2, token=b"w.2")) == [b"h1", b"h2"]
    assert ids_of(await take(old_enough, 2, token=b"w.3")) == [b"l2"]


async def test_without_ageing_a_higher_priority_always_goes_first(storage: RedisStorage) -> None:
    await created(storage, [NewTask(b"old", sealed(1), 0, "low"), NewTask(b"h1", sealed(2), 0, "high")])
    assert ids_of(await take(storage, 1)) == [b"h1"]


@pytest.mark.parametrize("seed", range(2))
async def test_no_list_starves_and_each_stays_first_in_first_out(storage: RedisStorage, link: Link, seed: int) -> None:
    """While high priorities keep coming, every claim takes what the rule says: the oldest, a priority counts as some age."""
    luck, now, step = random.Random(seed), await now_of(link), 60_000
    aged = ageing(storage, step)
    waiting: dict[str, list[tuple[int, bytes]]] = {"high": [], "low": []}
    dues = sorted(now - 3_600_000 + luck.randrange(3_600_000) for _ in range(60))
    for number, due in enumerate(dues):
        name = "high" if luck.random() < 0.8 else "low"
        waiting[name].append((due, b"%d" % number))
        await created(storage, [NewTask(b"%d" % number, sealed(due), 0, name)])
    claims = 0
    while any(waiting.values()):
        count = luck.randrange(1, 6)
        expected = {b for _, b in _oldest(waiting, count, step)}
        found = ids_of(await take(aged, count, token=b"w.%d" % claims))
        assert set(found) == expected
        claims += 1


def _oldest(waiting: dict[str, list[tuple[int, bytes]]], count: int, step: int) -> list[tuple[int, bytes]]:
    """Takes them out of *waiting* too."""
    found: list[tuple[int, bytes]] = []
    while len(found) < count and any(waiting.values()):
        ages = {name: tasks[0][0] + step * (name == "low") for name, tasks in waiting.items() if tasks}
        found.append(waiting[min(ages, key=lambda name: (ages[name], name == "low"))].pop(0))
    return found


async def test_what_is_no_envelope_is_taken_first_and_stalls_nothing(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"short", b"gone")
    await link.command("HSET", storage.keys.bucket(b"short"), b"short", b"x")
    await link.command("HDEL", storage.keys.bucket(b"gone"), b"gone")
    future = sealed(1 << 46)
    await created(storage, [NewTask(b"h1", future, 0, "high"), NewTask(b"h2", future, 0, "high")])
    assert set(ids_of(await take(ageing(storage, 1000), 3))) == {b"short", b"gone", b"h1"}
