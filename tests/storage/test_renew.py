"""renew: the holder of a lease prolongs it."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.storage.verbs import LONG, OTHER, back, end, everything, put_and_take, standing, tick, tick_until

pytestmark = pytest.mark.anyio


async def test_a_prolonged_lease_does_not_run_out(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"short", b"long", lease_ms=50)
    assert await storage.renew(LONG, [back(b"long")]) == [True]
    await tick_until(storage, lambda found: found.taken_back)
    assert await standing(storage, b"long") is Standing.RUNNING
    assert await storage.complete([end(b"short"), end(b"long")]) == [False, True]


async def test_renewing_again_says_the_same(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    assert await storage.renew(LONG, [back(b"a")]) == [True]
    assert await storage.renew(LONG, [back(b"a")]) == [True]
    assert (await storage.counts()).running == 1


async def test_a_stale_token_is_refused_and_nothing_is_written(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    before = await everything(storage)
    assert await storage.renew(LONG, [back(b"a", OTHER), back(b"unknown")]) == [False, False]
    assert await everything(storage) == before


async def test_a_lost_lease_is_reported_lost(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=10)
    await tick_until(storage, lambda found: found.taken_back)
    assert await storage.renew(LONG, [back(b"a")]) == [False]
    await tick(storage)
    assert (await storage.counts()).running == 0


async def test_what_has_ended_is_not_leased_again(storage: RedisStorage) -> None:
    await put_and_take(storage, b"done", b"given back")
    await storage.complete([end(b"done")])
    await storage.retry("low", [back(b"given back")])
    assert await storage.renew(LONG, [back(b"done"), back(b"given back")]) == [False, False]
    assert (await storage.counts()).running == 0
