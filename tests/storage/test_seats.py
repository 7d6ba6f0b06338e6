"""enter and enter_by_permit: one run of a key at a time, whichever partitions its tasks lie in."""

from __future__ import annotations

import pytest

from secure_queue.limiting import Holder, Taking
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from tests.servers import eventually
from tests.storage.verbs import LONG, back, end, put_and_take

pytestmark = pytest.mark.anyio

KEY, SHORT = b"0" * 32, 60


async def test_tasks_of_all_partitions_share_the_seat_of_a_key(storage: RedisStorage, link: Link) -> None:
    async def elsewhere(holder: bytes, lease_ms: int = LONG) -> bytes | None:
        return await storage.enter_by_permit(KEY, holder, lease_ms)

    async def is_free_for_c() -> bool:
        return await elsewhere(b"2 c seat") is None

    await put_and_take(storage, b"a", token=b"w.1")
    assert await storage.enter(b"a", b"w.1", KEY) is None
    assert await elsewhere(b"1 b seat") == b"a"
    await storage.complete([end(b"a", token=b"w.1")])
    for _ in range(2):
        assert await elsewhere(b"1 b seat") is None
    assert await elsewhere(b"2 c seat") == b"b"
    await put_and_take(storage, b"d", token=b"w.2")
    assert await storage.enter(b"d", b"w.2", KEY) == b"b"
    assert await storage.hold(LONG, [Holder(KEY, b"1 b seat", 1)]) == [True]
    await storage.leave([Holder(KEY, b"1 b seat", 1)], Taking("w", b"w.3", 0, LONG))
    await link.command("ZADD", storage.keys.permits(KEY), "inf", b"7 forged seat")
    assert await storage.enter(b"d", b"w.2", KEY) is None
    assert await elsewhere(b"1 b seat") == b"d"
    await storage.release("low", [back(b"d", b"w.2")])
    assert await elsewhere(b"1 b seat", SHORT) is None
    await eventually(is_free_for_c)
