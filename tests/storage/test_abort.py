"""abort: ends a waiting task, leaves a mark for a running one."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import NewTask, Standing
from tests.servers import PATIENCE
from tests.storage.verbs import LONG, MARK, back, created, dead, end, ids_of, put, put_and_take, standing, take, tick

pytestmark = pytest.mark.anyio


async def abort(storage: RedisStorage, task_id: bytes, sealed: bytes = b"aborted") -> str:
    return await storage.abort(task_id, sealed=sealed, ttl_ms=LONG, mark=b"mark")


async def test_an_unknown_task_is_unknown(storage: RedisStorage) -> None:
    assert await abort(storage, b"a") == "unknown"
    assert await standing(storage, b"a") is Standing.NOT_FOUND


async def test_a_queued_task_ends_at_once(storage: RedisStorage) -> None:
    await put(storage, b"a", b"b")
    assert await abort(storage, b"a") == "aborted"
    assert (await storage.look_up(b"a")).untrusted_result == b"aborted"
    counts = await storage.counts()
    assert (counts.ready, counts.results) == ({"high": 0, "low": 1}, 1)
    assert await storage.list_ids(Standing.QUEUED, priority="low", offset=0, limit=9) == [b"b"]
    assert ids_of(await take(storage)) == [b"b"]


@pytest.mark.parametrize(("before", "left"), [(9_999, 0), (10_000, 1)])
async def test_the_entry_of_one_that_lies_deep_in_a_long_list_is_dropped_when_it_is_met(
    storage: RedisStorage, link: Link, before: int, left: int
) -> None:
    await put(storage, b"a")
    ready = storage.keys.ready["low"]
    await link.command("LPUSH", ready, *[b"other"] * before)
    await link.command("RPUSH", ready, *[b"other"] * 20_000)
    assert await abort(storage, b"a") == "aborted"
    assert await standing(storage, b"a") is Standing.DONE
    assert (await storage.counts()).ready["low"] == before + 20_000 + left
    await link.command("LTRIM", ready, before, before)
    assert ids_of(await take(storage)) == [b"other"] * (1 - left)
    assert await link.command("HLEN", storage.keys.bucket(b"a")) == 0


@pytest.mark.parametrize("priority", ["high", "low"])
async def test_a_scheduled_task_ends_at_once(storage: RedisStorage, priority: str) -> None:
    await put(storage, b"a", at_ms=-LONG, priority=priority)
    assert await abort(storage, b"a") == "aborted"
    assert await standing(storage, b"a") is Standing.DONE
    assert (await tick(storage)).next_due_ms is None


async def test_a_task_that_waits_for_another_try_ends_at_once(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.retry("low", [back(b"a", at_ms=-LONG)])
    assert await abort(storage, b"a") == "aborted"
    assert (await storage.counts()).due == {"high": 0, "low": 0}


async def test_a_running_task_gets_a_mark_and_goes_on(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    assert await abort(storage, b"a") == "running"
    assert await abort(storage, b"a") == "running"
    assert await standing(storage, b"a") is Standing.RUNNING
    assert (await tick(storage)).untrusted_aborts == {b"a": b"mark"}
    assert await link.command("PTTL", storage.keys.aborts) != -1
    assert await storage.complete([end(b"a")]) == [True]


async def test_a_finished_task_is_left_alone(storage: RedisStorage) -> None:
    await put_and_take(storage, b"kept", b"not kept")
    await storage.complete([end(b"kept"), end(b"not kept", keep=MARK)])
    assert await abort(storage, b"kept") == "finished"
    assert await abort(storage, b"not kept") == "finished"


async def test_a_dead_letter_is_left_alone(storage: RedisStorage) -> None:
    await dead(storage, b"a", keep=MARK)
    assert await abort(storage, b"a") == "finished"
    assert await standing(storage, b"a") is Standing.DEAD


async def test_a_repeated_abort_says_the_same_and_another_one_learns_that_it_is_over(storage: RedisStorage) -> None:
    await put(storage, b"a")
    assert await abort(storage, b"a") == "aborted"
    assert await abort(storage, b"a") == "aborted"
    assert await abort(storage, b"a", sealed=b"of somebody else") == "finished"


async def test_who_waits_is_told(storage: RedisStorage) -> None:
    await put(storage, b"a")
    async with storage.listen("client") as messages:
        assert await storage.watch("client", [b"a"]) == [None]
        await abort(storage, b"a")
        assert await anext(aiter(messages)) == (b"a", b"aborted")


async def test_an_aborted_id_can_be_used_again_when_its_result_is_gone(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"a")
    await storage.watch("client", [b"a"])
    await storage.follow([(b"a", b"0:child")], tell=True, deadline=PATIENCE)
    await abort(storage, b"a")
    assert await link.command("HKEYS", storage.keys.bucket(b"a")) == [], (
        "those who waited for it do not wait for another"
    )
    await link.command("DEL", storage.keys.result(b"a"))
    assert await created(storage, [NewTask(b"a", b"new", 0, "low")]) == [True]
    assert ids_of(await take(storage)) == [b"a"]


async def test_the_entry_that_was_left_behind_does_not_stand_for_a_new_task_of_its_id(
    storage: RedisStorage, link: Link
) -> None:
    await link.command("HSET", storage.keys.bucket(b"a"), b"!ga", b"1")
    await put(storage, b"a")
    assert ids_of(await take(storage)) == [b"a"]
