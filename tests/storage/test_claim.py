"""claim: ready tasks are handed out once, most urgent and oldest first."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Claim, Standing
from tests.storage.verbs import (
    LONG,
    OTHER,
    RESULT,
    SEALED,
    TOKEN,
    back,
    end,
    ids_of,
    put,
    standing,
    take,
    take_marker,
    tick,
    tick_until,
)

pytestmark = pytest.mark.anyio


async def test_an_empty_queue_has_nothing(storage: RedisStorage) -> None:
    assert await storage.claim("w", TOKEN, 10, LONG) == (False, [])


async def test_a_claim_carries_what_is_stored(storage: RedisStorage) -> None:
    await put(storage, b"a", priority="high")
    assert await storage.claim("w", TOKEN, 10, LONG) == (False, [Claim(b"a", SEALED, 1, "high", TOKEN)])
    assert await standing(storage, b"a") is Standing.RUNNING


async def test_the_highest_priority_goes_first_and_each_is_first_in_first_out(storage: RedisStorage) -> None:
    await put(storage, b"l1", b"l2")
    await put(storage, b"h1", b"h2", priority="high")
    assert ids_of(await take(storage, 3)) == [b"h1", b"h2", b"l1"]
    assert ids_of(await take(storage, 3, token=b"w.2")) == [b"l2"]


async def test_a_claim_says_whether_more_is_ready(storage: RedisStorage) -> None:
    await put(storage, b"a", b"b")
    assert (await storage.claim("w", b"w.1", 1, LONG))[0] is True
    assert (await storage.claim("w", b"w.2", 1, LONG))[0] is False


async def test_a_lower_priority_counts_as_more(storage: RedisStorage) -> None:
    await put(storage, b"a", priority="high")
    await put(storage, b"b")
    assert (await storage.claim("w", TOKEN, 1, LONG))[0] is True


async def test_a_claim_leaves_a_wake_up_for_others_only_while_more_is_ready(storage: RedisStorage) -> None:
    await put(storage, b"a", b"b")
    await take(storage, 1)
    assert await take_marker(storage) is True
    await take(storage, 1, token=b"w.2")
    assert await take_marker(storage) is False


async def test_a_task_is_handed_out_once(storage: RedisStorage) -> None:
    await put(storage, b"a")
    assert ids_of(await take(storage)) == [b"a"]
    assert await take(storage, token=OTHER, worker="other") == []


async def test_a_repeated_claim_gets_the_same_tasks_and_no_more(storage: RedisStorage) -> None:
    await put(storage, b"a", b"b", b"c")
    first = await take(storage, 2)
    assert await take(storage, 2) == first
    for _ in range(2):
        assert ids_of(await take(storage, 2, token=b"w.2")) == [b"c"]


async def test_a_repeated_claim_gets_only_what_it_still_holds(storage: RedisStorage) -> None:
    await put(storage, b"a", b"b")
    await take(storage)
    await storage.complete([end(b"a")])
    assert ids_of(await take(storage)) == [b"b"]


async def test_a_claim_says_what_seems_to_have_ended_before(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"new", b"answered", b"dead")
    await link.command("ZADD", storage.keys.results, 4 * 10**12, b"answered")
    await link.command("HSET", storage.keys.bucket(b"dead"), b"!ddead", RESULT)
    for _ in range(2):
        hints = {claim.untrusted_id: claim.may_be_answered for claim in await take(storage)}
        assert hints == {b"new": False, b"answered": True, b"dead": True}


async def test_each_run_counts_as_a_try(storage: RedisStorage) -> None:
    await put(storage, b"a")
    for number in (1, 2, 3):
        token = b"w.%d" % number
        [claim] = await take(storage, token=token)
        assert claim.tries == number
        await storage.retry("low", [back(b"a", token)])


async def test_more_tries_than_the_record_can_count_do_not_lose_the_task(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"a")
    for number in range(3):
        await link.command("HSET", storage.keys.bucket(b"a"), b"!ra", b"9999:low:")
        [claim] = await take(storage, token=b"w.%d" % number)
        assert claim.tries == 9999
        assert await storage.renew(LONG, [back(b"a", claim.token)]) == [True]
        assert await storage.retry("low", [back(b"a", claim.token)]) == [True]


async def test_a_payload_over_the_limit_is_told_by_its_size(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"a", b"x" * 1001)
    assert [claim.untrusted for claim in await take(storage)] == [1001]


async def test_an_id_without_a_payload_is_told_once(storage: RedisStorage, link: Link) -> None:
    await link.command("RPUSH", storage.keys.ready["low"], b"ghost")
    assert await take(storage) == [Claim(b"ghost", None, 0, "low", TOKEN)]
    assert await take(storage, token=b"w.2") == []


@pytest.mark.parametrize("count", [1, 2])
async def test_a_second_entry_of_a_task_is_dropped(storage: RedisStorage, link: Link, count: int) -> None:
    await put(storage, b"a")
    await link.command("RPUSH", storage.keys.ready["low"], b"a", b"a")
    assert ids_of(await take(storage, count)) == [b"a"]
    assert await take(storage, 10, token=b"w.2") == []
    assert (await storage.counts()).ready["low"] == 0


async def test_an_entry_that_a_forged_record_calls_held_comes_back_with_the_lease(
    storage: RedisStorage, link: Link
) -> None:
    await put(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"!ra", b"1:x:nobody")
    assert await take(storage, lease_ms=20) == []
    await tick_until(storage, lambda found: found.taken_back)
    assert ids_of(await take(storage, token=b"w.2")) == [b"a"]


async def test_a_lease_counts_from_the_claim(storage: RedisStorage) -> None:
    await put(storage, b"a")
    await take(storage, lease_ms=LONG)
    assert (await tick(storage)).taken_back == 0


async def test_a_thousand_tasks_in_one_claim(storage: RedisStorage) -> None:
    ids = [b"%d" % number for number in range(1500)]
    await put(storage, *ids)
    assert ids_of(await take(storage, 1500)) == ids
    assert ids_of(await take(storage, 1500)) == ids
    assert all(await storage.complete([end(task_id) for task_id in ids]))
    assert (await storage.counts()).results == 1500


async def test_a_forged_priority_in_a_run_record_is_no_error(storage: RedisStorage) -> None:
    await put(storage, b"a")
    await take(storage, 1)
    await storage._link.command("HSET", storage.keys.bucket(b"a"), b"!ra", b"1:evil:" + TOKEN)
    [claim] = (await storage.claim("w", TOKEN, 0, LONG))[1]
    assert claim.priority == "low"


async def test_a_token_that_was_asked_for_claims_nothing_any_more(storage: RedisStorage) -> None:
    assert await storage.claim("w", TOKEN, 0, LONG) == (False, [])
    await put(storage, b"a")
    assert (await storage.claim("w", TOKEN, 10, LONG))[1] == []
