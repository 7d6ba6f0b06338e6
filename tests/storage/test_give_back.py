"""retry and release: a run is given back, to the end of the queue as a try or to its front without one."""

from __future__ import annotations

import pytest

from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.storage.verbs import (
    LONG,
    OTHER,
    back,
    everything,
    ids_of,
    put,
    put_and_take,
    standing,
    take,
    take_marker,
    tick,
    tick_until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("verb", ["retry", "release"])]


async def test_a_run_can_be_given_back_at_once(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a")
    assert await getattr(storage, verb)("low", [back(b"a")]) == [True]
    assert await standing(storage, b"a") is Standing.QUEUED
    assert (await storage.counts()).running == 0
    assert await take_marker(storage) is True
    [claim] = await take(storage, token=b"w.2")
    assert claim.tries == (2 if verb == "retry" else 1)


async def test_of_a_retry_that_is_due_soon_a_worker_is_told(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a", b"b")
    assert await take_marker(storage) is False
    assert await getattr(storage, verb)("low", [back(b"a", at_ms=-LONG), back(b"b", at_ms=-1)]) == [True, True]
    assert await take_marker(storage) is (verb == "retry")


async def test_a_run_can_be_given_back_for_later(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a", b"b")
    assert await getattr(storage, verb)("low", [back(b"a", at_ms=-LONG), back(b"b", at_ms=4 * 10**12)]) == [True, True]
    assert (await storage.look_up(b"a")).standing is Standing.SCHEDULED
    assert (await storage.look_up(b"b")).due_ms == 4 * 10**12
    assert (await tick(storage)).promoted == 0
    assert await take(storage, token=b"w.2") == []


async def test_what_was_given_back_for_later_becomes_ready(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a")
    await getattr(storage, verb)("low", [back(b"a", at_ms=-10)])
    await tick_until(storage, lambda found: found.promoted)
    [claim] = await take(storage, token=b"w.2")
    assert claim.tries == (2 if verb == "retry" else 1)


async def test_a_repeated_call_says_the_same_and_writes_nothing(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a", b"b")
    given = [back(b"a"), back(b"b", at_ms=4 * 10**12)]
    assert await getattr(storage, verb)("low", given) == [True, True]
    before = await everything(storage)
    assert await getattr(storage, verb)("low", given) == [True, True]
    assert await everything(storage) == before
    assert ids_of(await take(storage, token=b"w.2")) == [b"a"]


async def test_a_repeated_call_leaves_a_task_alone_that_runs_again(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a")
    await getattr(storage, verb)("low", [back(b"a")])
    await take(storage, token=OTHER)
    assert await getattr(storage, verb)("low", [back(b"a")]) == [False]
    assert await standing(storage, b"a") is Standing.RUNNING


async def test_a_stale_token_is_refused_and_nothing_is_written(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a")
    before = await everything(storage)
    assert await getattr(storage, verb)("low", [back(b"a", OTHER), back(b"unknown")]) == [False, False]
    assert await everything(storage) == before


async def test_the_order_of_a_batch_is_kept_and_its_place_depends_on_the_verb(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a", b"b")
    await put(storage, b"waiting")
    await getattr(storage, verb)("low", [back(b"a"), back(b"b")])
    order = [b"waiting", b"a", b"b"] if verb == "retry" else [b"a", b"b", b"waiting"]
    assert ids_of(await take(storage, token=b"w.2")) == order


async def test_a_task_keeps_its_priority(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a", priority="high")
    await put(storage, b"low")
    await getattr(storage, verb)("high", [back(b"a", at_ms=-10)])
    await tick_until(storage, lambda found: found.promoted)
    assert [(c.untrusted_id, c.priority) for c in await take(storage, token=b"w.2")] == [
        (b"a", "high"),
        (b"low", "low"),
    ]
