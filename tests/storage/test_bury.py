"""bury: a run that failed for good becomes a dead letter."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.storage.verbs import (
    LONG,
    MARK,
    OTHER,
    RESULT,
    SEALED,
    dead,
    end,
    everything,
    put_and_take,
    standing,
    take,
    tick,
    tick_until,
)

pytestmark = pytest.mark.anyio


async def test_a_dead_letter_keeps_the_task_and_its_failure(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await storage.bury([end(b"a")]) == [True]
    record = await storage.look_up(b"a")
    assert (record.standing, record.tries) == (Standing.DEAD, 1)
    assert (record.untrusted_task, record.untrusted_result, record.untrusted_death) == (SEALED, RESULT, RESULT)
    counts = await storage.counts()
    assert (counts.running, counts.dead, counts.results) == (0, 1, 1)


async def test_what_stood_beside_the_run_is_gone(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await storage.watch("client", [b"a"])
    await link.command("HSET", storage.keys.bucket(b"a"), b"!ga", b"1")  # of an aborted one that had this id before
    await storage.abort(b"a", sealed=b"x", ttl_ms=LONG, mark=b"mark")
    await storage.bury([end(b"a")])
    assert await link.command("EXISTS", storage.keys.aborts) == 0, "a run after it is revived would be aborted"
    left = await link.command("HKEYS", storage.keys.bucket(b"a"))
    assert sorted(left) == [b"!da", b"!ra", b"a"]  # type: ignore[type-var,arg-type]


async def test_a_repeated_call_says_the_same_and_writes_nothing(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await storage.bury([end(b"a")]) == [True]
    before = await everything(storage)
    assert await storage.bury([end(b"a")]) == [True]
    assert await everything(storage) == before


async def test_a_stale_token_is_refused_and_nothing_is_written(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    before = await everything(storage)
    assert await storage.bury([end(b"a", OTHER)]) == [False]
    assert await everything(storage) == before


async def test_another_death_of_a_dead_letter_is_refused(storage: RedisStorage) -> None:
    await dead(storage, b"a")
    assert await storage.bury([end(b"a", sealed=b"another")]) == [False]
    assert (await storage.look_up(b"a")).untrusted_death == RESULT


@pytest.mark.parametrize("keep", [MARK, 20])
async def test_the_failure_outlives_its_result(storage: RedisStorage, keep: int | bytes) -> None:
    await dead(storage, b"a", keep=keep)
    while (await storage.counts()).results:
        await tick(storage)
    record = await storage.look_up(b"a")
    assert (record.standing, record.untrusted_death) == (Standing.DEAD, RESULT)


async def test_dead_letters_are_never_handed_out(storage: RedisStorage) -> None:
    await dead(storage, b"a")
    await tick(storage)
    assert await take(storage, token=b"w.2") == []


async def test_the_oldest_dead_letters_go_when_there_are_too_many(storage: RedisStorage, link: Link) -> None:
    for number in range(5):
        await dead(storage, b"%d" % number, token=b"w.%d" % number)
        await link.command("ZADD", storage.keys.dead, 4_000_000_000_000 + number, b"%d" % number)
    await tick(storage, keep_dead=2)
    assert await storage.list_ids(Standing.DEAD, priority="low", offset=0, limit=9) == [b"3", b"4"]
    assert await link.command("HLEN", storage.keys.bucket(b"0")) == 0


async def test_dead_letters_go_when_they_are_too_old(storage: RedisStorage, link: Link) -> None:
    await dead(storage, b"old", b"new")
    await link.command("ZINCRBY", storage.keys.dead, -LONG, b"old")
    await tick(storage, keep_dead_ms=LONG - 1)
    assert await standing(storage, b"old") is Standing.DONE  # its result is still kept
    assert await standing(storage, b"new") is Standing.DEAD
    assert (await storage.look_up(b"old")).untrusted_task is None


async def test_a_holder_whose_lease_was_given_away_is_refused(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=10)
    await tick_until(storage, lambda found: found.taken_back)
    assert await storage.bury([end(b"a")]) == [False]
    assert await standing(storage, b"a") is Standing.QUEUED
