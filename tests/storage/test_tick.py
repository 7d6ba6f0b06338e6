"""tick: what is due becomes ready, expired leases are taken back, old things go."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.storage.verbs import LONG, ids_of, put, put_and_take, standing, take, take_marker, tick, tick_until

pytestmark = pytest.mark.anyio


async def test_nothing_to_do_is_nothing_done(storage: RedisStorage) -> None:
    found = await tick(storage)
    assert (found.next_due_ms, found.promoted, found.taken_back, found.untrusted_aborts) == (None, 0, 0, {})
    assert await take_marker(storage) is False


async def test_due_tasks_become_ready_in_the_order_of_their_time(storage: RedisStorage) -> None:
    await put(storage, b"third", at_ms=3)
    await put(storage, b"first", at_ms=1)
    await put(storage, b"second", at_ms=2)
    await put(storage, b"later", at_ms=-LONG)
    found = await tick(storage)
    assert found.promoted == 3
    assert await take_marker(storage) is True
    assert ids_of(await take(storage)) == [b"first", b"second", b"third"]
    assert await standing(storage, b"later") is Standing.SCHEDULED


async def test_a_due_task_keeps_its_priority(storage: RedisStorage) -> None:
    await put(storage, b"low", at_ms=1)
    await put(storage, b"high", at_ms=2, priority="high")
    assert (await tick(storage)).promoted == 2
    assert [(c.untrusted_id, c.priority) for c in await take(storage)] == [(b"high", "high"), (b"low", "low")]


async def test_the_next_due_time_is_told(storage: RedisStorage) -> None:
    await put(storage, b"a", at_ms=-LONG)
    await put(storage, b"b", at_ms=-LONG // 2, priority="high")
    found = await tick(storage)
    assert found.next_due_ms is not None and 0 < found.next_due_ms <= LONG // 2
    await put(storage, b"c", at_ms=-LONG // 4)
    found = await tick(storage)
    assert found.next_due_ms is not None and 0 < found.next_due_ms <= LONG // 4


async def test_a_tick_twice_promotes_once(storage: RedisStorage) -> None:
    await put(storage, b"a", at_ms=1)
    assert (await tick(storage)).promoted == 1
    assert (await tick(storage)).promoted == 0
    assert ids_of(await take(storage)) == [b"a"]


async def test_a_large_backlog_is_promoted_in_batches(storage: RedisStorage) -> None:
    await put(storage, *[b"%d" % number for number in range(1200)], at_ms=1)
    assert [(await tick(storage)).promoted for _ in range(4)] == [500, 500, 200, 0]


async def test_an_expired_lease_is_taken_back_and_the_run_counts(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=20, priority="high")
    await tick_until(storage, lambda found: found.taken_back == 1)
    assert await standing(storage, b"a") is Standing.QUEUED
    assert await take_marker(storage) is True
    [claim] = await take(storage, token=b"w.2")
    assert (claim.untrusted_id, claim.tries, claim.priority) == (b"a", 2, "high")


async def test_a_lease_that_holds_is_left_alone(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert (await tick(storage)).taken_back == 0
    assert await standing(storage, b"a") is Standing.RUNNING


async def test_a_task_of_a_priority_that_is_gone_comes_back_with_the_lowest(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", lease_ms=20)
    await link.command("HSET", storage.keys.bucket(b"a"), b"!ra", b"1:gone:w.1")
    await tick_until(storage, lambda found: found.taken_back)
    assert [claim.priority for claim in await take(storage, token=b"w.2")] == ["low"]


async def test_leases_of_nobody_are_dropped(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"waiting")
    await link.command("ZADD", storage.keys.leases, 1, b"nobody", 1, b"waiting", 1, b"\xff")
    assert (await tick(storage)).taken_back == 0
    assert (await storage.counts()).running == 0
    assert ids_of(await take(storage)) == [b"waiting"]


async def test_abort_marks_are_told_until_their_task_has_ended(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await storage.abort(b"a", sealed=b"x", ttl_ms=LONG, mark=b"mark")
    await link.command("HSET", storage.keys.aborts, b"gone", b"mark")
    assert (await tick(storage)).untrusted_aborts == {b"a": b"mark"}
    assert (await tick(storage)).untrusted_aborts == {b"a": b"mark"}
    assert await link.command("HKEYS", storage.keys.aborts) == [b"a"]


async def test_workers_are_counted_until_they_are_gone(storage: RedisStorage, link: Link) -> None:
    await storage.tick("one", gone_after_ms=LONG, keep_dead_ms=LONG, keep_dead=10)
    await storage.tick("two", gone_after_ms=LONG, keep_dead_ms=LONG, keep_dead=10)
    assert (await storage.counts()).workers == 2
    await link.command("ZADD", storage.keys.workers, 1, b"one")
    await storage.tick("two", gone_after_ms=LONG, keep_dead_ms=LONG, keep_dead=10)
    assert (await storage.counts()).workers == 1


@pytest.mark.parametrize("clock", [b"abc", b"", b"-5", b"253402300800000", b"nan", b"inf", b"1e400", b"\xff"])
async def test_a_forged_clock_changes_nothing(storage: RedisStorage, link: Link, clock: bytes) -> None:
    await put(storage, b"a", at_ms=-LONG)
    await link.command("HSET", storage.keys.meta, "clock", clock)
    found = await tick(storage)
    assert found.promoted == 0 and found.next_due_ms is not None and found.next_due_ms > LONG - 60_000


async def test_a_server_whose_clock_is_a_little_behind_does_not_turn_time_back(
    storage: RedisStorage, link: Link
) -> None:
    await put(storage, b"a", at_ms=-30_000)
    mark = int(await link.command("HGET", storage.keys.meta, "clock"))  # type: ignore[arg-type]
    await link.command("HSET", storage.keys.meta, "clock", mark + 60_000)  # another server was so far ahead
    assert (await tick(storage)).promoted == 1


@pytest.mark.parametrize("score", [b"inf", b"-inf", b"1e300", b"-1"])
async def test_forged_due_times_harm_nobody_else(storage: RedisStorage, link: Link, score: bytes) -> None:
    await put(storage, b"a", at_ms=-LONG)
    await put(storage, b"good", at_ms=2)
    await link.command("ZADD", storage.keys.due["low"], score, b"a")
    assert (await tick(storage)).promoted >= 1
    assert b"good" in ids_of(await take(storage))
    await storage.look_up(b"a")
