"""watch and listen: results that are there are read, those that are not are pushed."""

from __future__ import annotations

import anyio
import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import UNKNOWN, Standing
from tests.servers import PATIENCE
from tests.storage.verbs import MARK, RESULT, back, dead, end, put, put_and_take, standing, take, tick

pytestmark = pytest.mark.anyio


async def test_a_result_that_is_there_is_read(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.complete([end(b"a")])
    assert await storage.watch("client", [b"a"]) == [RESULT]


async def test_of_a_result_that_is_not_kept_there_is_a_mark(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.complete([end(b"a", keep=MARK)])
    assert await storage.watch("client", [b"a"]) == [MARK]


async def test_an_unknown_task_is_unknown(storage: RedisStorage, link: Link) -> None:
    assert await storage.watch("client", [b"a"]) == [UNKNOWN]
    assert await link.command("DBSIZE") == 0


async def test_each_of_many_has_its_own_answer(storage: RedisStorage) -> None:
    await put_and_take(storage, b"done")
    await storage.complete([end(b"done")])
    await put(storage, b"queued")
    assert await storage.watch("client", [b"queued", b"done", b"unknown"]) == [None, RESULT, UNKNOWN]


@pytest.mark.parametrize("verb", ["complete", "bury"])
async def test_an_awaited_result_is_pushed(storage: RedisStorage, verb: str) -> None:
    await put_and_take(storage, b"a")
    async with storage.listen("client") as messages:
        assert await storage.watch("client", [b"a"]) == [None]
        await getattr(storage, verb)([end(b"a")])
        with anyio.fail_after(PATIENCE):
            assert await anext(aiter(messages)) == (b"a", RESULT)


async def test_a_result_that_is_not_kept_is_pushed_to_who_waits(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    async with storage.listen("client") as messages:
        await storage.watch("client", [b"a"])
        await storage.complete([end(b"a", keep=MARK)])
        with anyio.fail_after(PATIENCE):
            assert await anext(aiter(messages)) == (b"a", RESULT)


async def test_everybody_who_waits_is_told_once(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b")
    async with storage.listen("one") as one, storage.listen("two") as two:
        for client in ("one", "two", "one", "one"):
            await storage.watch(client, [b"a"])
        await storage.watch("one", [b"b"])
        await storage.complete([end(b"a"), end(b"b")])
        with anyio.fail_after(PATIENCE):
            assert [await anext(one), await anext(one)] == [(b"a", RESULT), (b"b", RESULT)]
            assert await anext(two) == (b"a", RESULT)


async def test_waiting_survives_another_try(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    async with storage.listen("client") as messages:
        await storage.watch("client", [b"a"])
        await storage.retry("low", [back(b"a")])
        [claim] = await take(storage, token=b"w.2")
        await storage.complete([end(b"a", claim.token)])
        with anyio.fail_after(PATIENCE):
            assert await anext(aiter(messages)) == (b"a", RESULT)


async def test_who_does_not_wait_is_not_told(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b")
    async with storage.listen("client") as messages:
        await storage.complete([end(b"a")])
        await storage.watch("client", [b"b"])
        await storage.complete([end(b"b")])
        assert await anext(aiter(messages)) == (b"b", RESULT)


async def test_binary_results_and_ids_arrive_as_they_are(storage: RedisStorage) -> None:
    await put_and_take(storage, b"\xff\n")
    sealed = bytes(range(256))
    async with storage.listen("client") as messages:
        await storage.watch("client", [b"\xff\n"])
        await storage.complete([end(b"\xff\n", sealed=sealed)])
        assert await anext(aiter(messages)) == (b"\xff\n", sealed)


async def test_a_dead_letter_tells_its_failure_when_its_result_has_expired(storage: RedisStorage) -> None:
    await dead(storage, b"a", keep=20)
    while (await storage.look_up(b"a")).untrusted_result is not None:
        await tick(storage)
    assert await standing(storage, b"a") is Standing.DEAD
    assert await storage.watch("client", [b"a"]) == [RESULT]


async def test_who_writes_himself_among_the_waiters_is_heard_of_in_channels_of_the_queue_alone(
    storage: RedisStorage, link: Link
) -> None:
    await put_and_take(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"!wa", b"orders\nsq:{other/0}:done:x\nclient")
    async with link.listen(b"orders") as foreign, storage.listen("orders") as named, storage.listen("client") as own:
        assert await storage.complete([end(b"a")]) == [True]
        with anyio.fail_after(PATIENCE):
            assert await anext(own) == await anext(named) == (b"a", RESULT)
        await link.command("PUBLISH", b"orders", b"the first message")
        with anyio.fail_after(PATIENCE):
            assert await anext(foreign) == b"the first message"


@pytest.mark.parametrize("garbage", [b"", b"\n\n\n", b"\xff\x00\n\n x", b"n" * 20_000])
async def test_garbage_among_the_waiters_harms_nobody(storage: RedisStorage, link: Link, garbage: bytes) -> None:
    await put_and_take(storage, b"a")
    await link.command("HSET", storage.keys.bucket(b"a"), b"!wa", garbage)
    async with storage.listen("client") as messages:
        assert await storage.watch("client", [b"a"]) == [None]
        assert await storage.complete([end(b"a")]) == [True]
        assert await anext(aiter(messages)) == (b"a", RESULT)
