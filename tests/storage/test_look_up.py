"""look_up, list_ids and counts: what can be known about tasks in each state."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Counts, Record, Standing
from tests.storage.verbs import LONG, RESULT, SEALED, dead, end, put, put_and_take

pytestmark = pytest.mark.anyio


async def one_in_each_state(storage: RedisStorage) -> None:
    await dead(storage, b"dead")
    await put_and_take(storage, b"done", token=b"w.2")
    await storage.complete([end(b"done", b"w.2")])
    await put(storage, b"scheduled", at_ms=4 * 10**12)
    await put_and_take(storage, b"running", token=b"w.3", priority="high")
    await put(storage, b"queued")


async def test_each_state_is_recognised(storage: RedisStorage) -> None:
    await one_in_each_state(storage)
    assert {i: await storage.look_up(i) for i in (b"dead", b"done", b"scheduled", b"running", b"queued", b"no")} == {
        b"dead": Record(Standing.DEAD, SEALED, 1, 0, RESULT, RESULT),
        b"done": Record(Standing.DONE, None, 0, 0, RESULT, None),
        b"scheduled": Record(Standing.SCHEDULED, SEALED, 0, 4 * 10**12, None, None),
        b"running": Record(Standing.RUNNING, SEALED, 1, 0, None, None),
        b"queued": Record(Standing.QUEUED, SEALED, 0, 0, None, None),
        b"no": Record(Standing.NOT_FOUND, None, 0, 0, None, None),
    }


async def test_each_state_is_listed(storage: RedisStorage) -> None:
    await one_in_each_state(storage)
    for state in Standing:
        expected = [] if state is Standing.NOT_FOUND else [state.value.encode()]
        if state is Standing.DONE:
            expected = [b"dead", b"done"]  # a dead letter has a result too
        found = await storage.list_ids(state, priority="low", offset=0, limit=10)
        assert sorted(found) == sorted(expected)


async def test_each_state_is_counted(storage: RedisStorage) -> None:
    await one_in_each_state(storage)
    none = {"high": 0, "low": 0}
    one = {"high": 0, "low": 1}
    assert await storage.counts() == Counts(one, one, 1, 2, 1, 0, 0, none, none)


async def test_queued_and_scheduled_tasks_are_listed_by_priority(storage: RedisStorage) -> None:
    await put(storage, b"low")
    await put(storage, b"high", priority="high")
    await put(storage, b"late", at_ms=-LONG, priority="high")
    assert await storage.list_ids(Standing.QUEUED, priority="high", offset=0, limit=10) == [b"high"]
    assert await storage.list_ids(Standing.QUEUED, priority="low", offset=0, limit=10) == [b"low"]
    assert await storage.list_ids(Standing.SCHEDULED, priority="high", offset=0, limit=10) == [b"late"]
    assert await storage.list_ids(Standing.SCHEDULED, priority="low", offset=0, limit=10) == []


@pytest.mark.parametrize("at_ms", [0, 4 * 10**12])
async def test_pages_follow_each_other(storage: RedisStorage, at_ms: int) -> None:
    ids = [b"%02d" % number for number in range(25)]
    await put(storage, *ids, at_ms=at_ms)
    state = Standing.SCHEDULED if at_ms else Standing.QUEUED
    pages = [await storage.list_ids(state, priority="low", offset=first, limit=10) for first in (0, 10, 20, 30)]
    assert pages == [ids[:10], ids[10:20], ids[20:], []]


async def test_a_page_of_nothing_is_empty(storage: RedisStorage) -> None:
    await put(storage, b"a")
    assert await storage.list_ids(Standing.QUEUED, priority="low", offset=0, limit=0) == []
    assert await storage.list_ids(Standing.QUEUED, priority="low", offset=0, limit=-1) == []


async def test_values_over_the_limit_are_told_by_their_size(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"a", b"x" * 1001, b"!da", b"x" * 1003)
    await link.command("SET", storage.keys.result(b"a"), b"x" * 1002)
    record = await storage.look_up(b"a")
    assert (record.untrusted_task, record.untrusted_result, record.untrusted_death) == (1001, 1002, 1003)


async def test_looking_changes_nothing(storage: RedisStorage, link: Link) -> None:
    await storage.look_up(b"a")
    await storage.list_ids(Standing.DONE, priority="low", offset=0, limit=10)
    await storage.counts()
    assert await link.command("DBSIZE") == 0
