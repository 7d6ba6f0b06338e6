"""Pauses and ageing: what a claim leaves alone, and what it takes first."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from secure_queue.pausing import MOST_PAUSES
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import NewTask
from tests.servers import eventually
from tests.storage.verbs import LONG, created, ids_of, put, take

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
