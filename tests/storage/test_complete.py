"""complete: the holder of the lease ends a run, once."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.conftest import lasting_keys
from tests.servers import eventually
from tests.storage.verbs import (
    LONG,
    MARK,
    OTHER,
    RESULT,
    back,
    end,
    everything,
    ids_of,
    put_and_take,
    standing,
    take,
    tick,
    tick_until,
)

pytestmark = pytest.mark.anyio


async def test_a_result_takes_the_place_of_the_task(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await storage.complete([end(b"a")]) == [True]
    record = await storage.look_up(b"a")
    assert (record.standing, record.untrusted_task, record.untrusted_result) == (Standing.DONE, None, RESULT)
    counts = await storage.counts()
    assert (counts.running, counts.results) == (0, 1)


async def test_a_repeated_call_says_the_same_and_writes_nothing(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b")
    ends = [end(b"a"), end(b"b", keep=MARK)]
    assert await storage.complete(ends) == [True, True]
    before = await everything(storage)
    assert await storage.complete(ends) == [True, True]
    assert await everything(storage) == before


async def test_a_stale_token_is_refused_and_nothing_is_written(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    before = await everything(storage)
    assert await storage.complete([end(b"a", OTHER)]) == [False]
    assert await everything(storage) == before
    assert await storage.complete([end(b"a")]) == [True]


async def test_the_second_of_two_different_results_is_refused(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await storage.complete([end(b"a", sealed=b"first")]) == [True]
    assert await storage.complete([end(b"a", sealed=b"second")]) == [False]
    assert (await storage.look_up(b"a")).untrusted_result == b"first"


async def test_a_holder_whose_lease_was_given_away_is_refused(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=10)
    await tick_until(storage, lambda found: found.taken_back)
    assert await storage.complete([end(b"a")]) == [False]
    await take(storage, token=OTHER)
    assert await storage.complete([end(b"a")]) == [False]
    assert await storage.complete([end(b"a", OTHER)]) == [True]


async def test_a_task_that_was_given_back_cannot_be_ended(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.retry("low", [back(b"a")])
    assert await storage.complete([end(b"a")]) == [False]
    assert await standing(storage, b"a") is Standing.QUEUED


async def test_an_unknown_task_is_refused(storage: RedisStorage) -> None:
    assert await storage.complete([end(b"nobody")]) == [False]


async def test_each_task_of_a_batch_has_its_own_answer(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b", b"c")
    ends = [end(b"a"), end(b"b", OTHER), end(b"unknown"), end(b"c")]
    assert await storage.complete(ends) == [True, False, False, True]


async def test_a_result_expires_and_leaves_the_index(storage: RedisStorage) -> None:
    await put_and_take(storage, b"short", b"long")
    await storage.complete([end(b"short", keep=20), end(b"long")])

    async def short_is_gone() -> bool:
        await tick(storage)
        counts = await storage.counts()
        return counts.results == 1 and await standing(storage, b"short") is Standing.NOT_FOUND

    await eventually(short_is_gone)
    assert await storage.list_ids(Standing.DONE, priority="low", offset=0, limit=9) == [b"long"]


async def test_nothing_is_kept_of_a_task_that_keeps_no_result_but_a_mark_that_expires(
    storage: RedisStorage, link: Link
) -> None:
    await put_and_take(storage, b"a")
    assert await storage.complete([end(b"a", keep=MARK)]) == [True]
    record = await storage.look_up(b"a")
    assert (record.standing, record.untrusted_result) == (Standing.DONE, MARK)
    assert (await storage.counts()).results == 0
    left = await link.command("PTTL", storage.keys.result(b"a"))
    assert isinstance(left, int) and 80_000 < left <= 100_000
    assert await lasting_keys(link) == []


async def test_a_result_for_ever_stays_in_the_index(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", b"b", b"c")
    await storage.complete([end(b"a", keep=-1), end(b"b")])
    await storage.complete([end(b"c")])
    await tick(storage)
    assert (await storage.counts()).results == 3
    assert sorted(await lasting_keys(link)) == [storage.keys.result(b"a"), storage.keys.results]


async def test_everything_that_finished_tasks_leave_has_an_expiry(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", b"b", b"c")
    await storage.watch("client", [b"a"])
    await link.command("HSET", storage.keys.bucket(b"a"), b"!ga", b"1")  # of an aborted one that had this id before
    await link.command("ZADD", storage.keys.finished, 1, "long ago")
    for one in (end(b"a", keep=5000), end(b"b"), end(b"c", keep=5000)):
        await storage.complete([one])
    assert await lasting_keys(link) == []
    assert await link.command("ZCARD", storage.keys.finished) == 1
    left = await link.command("PTTL", storage.keys.results)
    assert isinstance(left, int) and 5000 < left <= LONG  # as long as the result that is kept longest


async def test_the_end_takes_the_abort_mark_away(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await storage.abort(b"a", sealed=b"x", ttl_ms=LONG, mark=b"mark")
    await storage.complete([end(b"a")])
    assert await link.command("EXISTS", storage.keys.aborts) == 0


async def test_an_ended_task_is_not_handed_out_again(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.complete([end(b"a")])
    assert ids_of(await take(storage)) == []
    assert ids_of(await take(storage, token=b"w.2")) == []
