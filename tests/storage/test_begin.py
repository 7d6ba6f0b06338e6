"""begin: the last permitted try is noted when it really begins."""

from __future__ import annotations

import pytest

from secure_queue.limiting import Parked
from secure_queue.pausing import Shelved, Shelving
from secure_queue.redis.storage import RedisStorage
from tests.storage.verbs import LONG, OTHER, back, end, everything, put, put_and_take, take, tick_until

pytestmark = pytest.mark.anyio


async def test_a_try_that_has_begun_is_told_with_the_next_claim(storage: RedisStorage) -> None:
    await put_and_take(storage, b"begun", b"not begun", lease_ms=50)
    assert await storage.begin([back(b"begun")]) == [True]
    assert await storage.begin([back(b"begun")]) == [True], "a retry after a lost reply"
    await tick_until(storage, lambda found: found.taken_back)
    claims = {claim.untrusted_id: (claim.tries, claim.has_begun) for claim in await take(storage, token=OTHER)}
    assert claims == {b"begun": (2, True), b"not begun": (2, False)}


async def test_a_new_try_has_not_begun(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.begin([back(b"a")])
    await storage.retry("low", [back(b"a")])
    assert [claim.has_begun for claim in await take(storage, token=OTHER)] == [False]


async def test_who_has_begun_can_end_as_usual(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.begin([back(b"a")])
    assert await storage.complete([end(b"a")]) == [True]


async def test_a_lost_lease_begins_nothing(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await put(storage, b"waiting")
    before = await everything(storage)
    assert await storage.begin([back(b"a", OTHER), back(b"waiting"), back(b"unknown")]) == [False] * 3
    assert await everything(storage) == before


async def test_that_a_last_try_has_begun_is_not_forgotten_by_who_claims_the_task_to_end_it(
    storage: RedisStorage,
) -> None:
    await put_and_take(storage, b"a", lease_ms=50)
    await storage.begin([back(b"a")])
    for token in (OTHER, b"third"):  # each dies before it has ended the task
        await tick_until(storage, lambda found: found.taken_back)
        assert [claim.has_begun for claim in await take(storage, token=token, lease_ms=50)] == [True]
    assert [claim.has_begun for claim in await take(storage, token=b"third")] == [True], "a retry after a lost reply"


async def give_back(storage: RedisStorage, verb: str, token: bytes) -> None:
    """Give a task back whose run has not begun, and have it come again."""
    if verb == "release":
        assert await storage.release("low", [back(b"a", token)]) == [True]
    elif verb == "park":
        assert await storage.park("low", [Parked(b"a", token, LONG, "")]) == [True]
        assert await storage.hurry([b"a"]) == [True]
    else:
        await storage.pause({"t:mail": 0})
        assert await storage.shelve("low", [Shelving(b"a", token, "t:mail")]) == [Shelved.ASIDE]
        await storage.resume("t:mail")


@pytest.mark.parametrize("verb", ["release", "park", "shelve"])
async def test_that_a_last_try_has_begun_is_not_forgotten_by_who_gives_the_task_back(
    storage: RedisStorage, verb: str
) -> None:
    await put_and_take(storage, b"a", lease_ms=50)
    await storage.begin([back(b"a")])
    await tick_until(storage, lambda found: found.taken_back)
    await take(storage, token=OTHER)
    await give_back(storage, verb, OTHER)
    assert [(claim.tries, claim.has_begun) for claim in await take(storage, token=b"third")] == [(2, True)]
    await storage.begin([back(b"a", b"third")])
    await give_back(storage, verb, b"third")
    assert [claim.has_begun for claim in await take(storage)] == [False], "its own try was given back in good order"


async def test_a_retry_is_another_try_whatever_had_begun_before(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", lease_ms=50)
    await storage.begin([back(b"a")])
    await tick_until(storage, lambda found: found.taken_back)
    assert [claim.has_begun for claim in await take(storage, token=OTHER)] == [True]
    await storage.retry("low", [back(b"a", OTHER)])
    assert [claim.has_begun for claim in await take(storage, token=b"third")] == [False]
