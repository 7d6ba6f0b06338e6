"""report and partial: what a running task says is kept for its caller, as long as its lease holds."""

from __future__ import annotations

import anyio
import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.reports import Report, Reported
from tests.servers import PATIENCE
from tests.storage.verbs import LONG, OTHER, TOKEN, back, end, put, put_and_take, take

pytestmark = pytest.mark.anyio
KEPT, LEASE_LOST, TOO_MUCH = Reported.KEPT, Reported.LEASE_LOST, Reported.TOO_MUCH


def said(sealed: bytes, part: int | None = None, *, token: bytes = TOKEN, task_id: bytes = b"a") -> Report:
    return Report(task_id, token, part, sealed, LONG)


async def test_the_last_progress_and_all_parts_are_read(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a", b"b")
    assert await storage.partial(b"a", 0, 9) == (None, [])
    reports = [said(b"10%"), said(b"p0", 0), said(b"p1", 1), said(b"other", 0, task_id=b"b"), said(b"20%")]
    assert await storage.report(reports) == [KEPT] * 5
    assert await storage.report([said(b"p1", 1)]) == [KEPT], "a retry after a lost reply"
    assert await storage.partial(b"a", 0, 9) == (b"20%", [b"p0", b"p1"])
    assert await storage.partial(b"a", 1, 9) == (b"20%", [b"p1"])
    assert await storage.partial(b"a", 0, 1) == (b"20%", [b"p0"])
    assert await storage.partial(b"b", 0, 9) == (None, [b"other"])
    left = await link.command("PTTL", storage.keys.partial(b"a"))
    assert isinstance(left, int)
    assert 0 < left <= LONG


async def test_only_the_holder_of_the_lease_is_heard(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await put(storage, b"waiting")
    wrong = [said(b"x", token=OTHER), said(b"x", task_id=b"waiting"), said(b"x", task_id=b"unknown")]
    assert await storage.report(wrong) == [LEASE_LOST] * 3
    await storage.complete([end(b"a")])
    assert await storage.report([said(b"x")]) == [LEASE_LOST]
    for task_id in (b"a", b"waiting", b"unknown"):
        assert await storage.partial(task_id, 0, 9) == (None, [])


async def test_what_another_run_says_takes_the_place_of_it(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.report([said(b"half"), said(b"p0", 0), said(b"p1", 1)])
    await storage.retry("low", [back(b"a")])
    await take(storage, token=OTHER)
    assert await storage.partial(b"a", 0, 9) == (b"half", [b"p0", b"p1"])
    assert await storage.report([said(b"again", 0, token=OTHER)]) == [KEPT]
    assert await storage.partial(b"a", 0, 9) == (None, [b"again"])


async def test_another_first_part_of_the_same_run_begins_another_stream(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.report([said(b"p0", 0), said(b"p1", 1), said(b"p0", 0)])
    assert await storage.partial(b"a", 0, 9) == (None, [b"p0", b"p1"]), "the same one is a retry after a lost reply"
    await storage.report([said(b"q0", 0)])
    assert await storage.partial(b"a", 0, 9) == (None, [b"q0"])


async def test_there_is_a_limit_on_parts_and_bytes(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secure_queue.redis.reporting.MOST_PARTS", 2)
    monkeypatch.setattr("secure_queue.redis.reporting.MOST_PART_BYTES", 10)
    await put_and_take(storage, b"a", b"b")
    assert await storage.report([said(b"", number) for number in range(3)]) == [KEPT, KEPT, TOO_MUCH]
    assert await storage.report([said(b"progress"), said(b"", 1)]) == [KEPT, KEPT], "neither is one more"
    sizes = [said(b"x" * 9, 0, task_id=b"b"), said(b"xx", 1, task_id=b"b"), said(b"x", 1, task_id=b"b")]
    assert await storage.report(sizes) == [KEPT, TOO_MUCH, KEPT]


async def test_who_waits_for_the_task_is_told(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    async with storage.listen("client") as messages:
        assert await storage.watch("client", [b"a"]) == [None]
        await storage.report([said(b"p0", 0)])
        with anyio.fail_after(PATIENCE):
            assert await anext(aiter(messages)) == (b"a\1", b"")


async def test_a_key_of_another_type_is_moved_aside(storage: RedisStorage, link: Link) -> None:
    await put_and_take(storage, b"a")
    await link.command("SET", storage.keys.partial(b"a"), "x")
    assert await storage.partial(b"a", 0, 9) == (None, [])
    await link.command("RPUSH", storage.keys.partial(b"a"), "x")
    assert await storage.report([said(b"p0", 0)]) == [KEPT]
    assert await storage.partial(b"a", 0, 9) == (None, [b"p0"])
