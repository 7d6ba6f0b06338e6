"""The register of a queue: how many partitions are in use, and over how many the ids of one's own are spread for ever."""

from __future__ import annotations

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.timetable import REGISTER_MS
from secure_queue.storage import Register
from tests.storage.verbs import put, tick

pytestmark = pytest.mark.anyio


async def test_the_number_is_raised_and_never_lowered(storage: RedisStorage) -> None:
    assert await storage.register(4, None) == Register(4, 4)
    assert await storage.register(8, None) == Register(8, 4)
    assert await storage.register(2, 4) == Register(8, 4)
    assert await storage.register(1, None) == Register(8, 4)


async def test_who_only_asks_writes_nothing(storage: RedisStorage, link: Link) -> None:
    assert await storage.register(0, None) == Register(1, 1)
    assert await link.command("EXISTS", storage.keys.config, storage.keys.meta) == 0
    await storage.register(4, None)
    assert await storage.register(0, None) == Register(4, 4)


async def test_a_queue_of_one_partition_needs_no_register(storage: RedisStorage, link: Link) -> None:
    assert await storage.register(1, None) == Register(1, 1)
    assert await link.command("EXISTS", storage.keys.config) == 0
    assert await storage.register(4, None) == Register(4, 1)  # somebody may have put ids of his own there


async def test_a_queue_that_was_used_before_keeps_ids_of_ones_own_in_place(storage: RedisStorage, link: Link) -> None:
    await put(storage, b"order-1", at_ms=-600_000)
    await link.command("DEL", storage.keys.meta)  # as after a week without anybody
    assert await storage.register(4, None) == Register(4, 1)


async def test_a_lost_register_is_restored_by_who_knows_it(storage: RedisStorage, link: Link) -> None:
    await storage.register(4, None)
    await link.command("DEL", storage.keys.config)
    assert await storage.register(2, 4) == Register(4, 4)


async def test_the_workers_are_told_and_the_register_is_not_kept_for_ever(storage: RedisStorage, link: Link) -> None:
    assert await storage.untrusted_workers() == frozenset()
    await tick(storage)
    assert await storage.untrusted_workers() == {"w"}
    await storage.register(4, None)
    left = await link.command("PTTL", storage.keys.config)
    assert isinstance(left, int)
    assert 0 < left <= REGISTER_MS


async def test_the_number_is_lowered_by_who_knows_it(storage: RedisStorage) -> None:
    await storage.register(2, None)
    await storage.register(8, None)
    assert await storage.shrink(6, 4) is False
    assert await storage.shrink(8, 1) is False  # ids of one's own are spread over two
    assert await storage.shrink(8, 4) is True
    assert await storage.shrink(8, 4) is True  # the same again, after a lost reply
    assert await storage.register(0, None) == Register(4, 2)


@pytest.mark.parametrize("forged", [b"1000000", b"0", b"-3", b"nan", b"2.5", b"junk", b""])
async def test_what_somebody_else_writes_there_counts_only_if_it_can_be_meant(
    storage: RedisStorage, link: Link, forged: bytes
) -> None:
    await link.command("HSET", storage.keys.config, "partitions", forged, "key_partitions", forged)
    assert await storage.register(2, None) == Register(2, 2)


async def test_a_register_of_the_wrong_type_is_moved_aside(storage: RedisStorage, link: Link) -> None:
    await link.command("SET", storage.keys.config, "junk")
    assert await storage.register(4, 4) == Register(4, 4)
