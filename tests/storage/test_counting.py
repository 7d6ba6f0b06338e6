"""Tasks that stand behind others in the line of their key wait like any other: each is counted and listed once."""

from __future__ import annotations

import pytest

from secure_queue.evidence import Renewed
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Counts, Standing
from tests.storage.verbs import FAIR, LINE, LONG, TOKEN, claimed, end, keep, look_after, put, take, tick_until

pytestmark = pytest.mark.anyio


async def listed(storage: RedisStorage, priority: str, step: int = 5) -> list[bytes]:
    """All that waits, page by page, as far as it is said to be."""
    pages = [
        await storage.list_ids(Standing.QUEUED, priority=priority, offset=first, limit=step)
        for first in range(0, 40, step)
    ]
    return [task_id for page in pages for task_id in page]


def low(counts: Counts) -> tuple[int, int, int]:
    return counts.ready["low"], counts.in_lines["low"], counts.running


async def test_who_stands_behind_in_a_fair_line_counts_until_it_is_let_go(storage: RedisStorage) -> None:
    many = [b"%02d" % number for number in range(20)]
    await keep(storage, *many, line=FAIR)
    await keep(storage, b"high", b"higher", line=LINE, priority="high")
    await put(storage, b"plain")
    counts = await storage.counts()
    assert (low(counts), counts.in_lines["high"], counts.waiting) == ((9, 12, 0), 1, 23)
    assert await listed(storage, "low") == [*many[:8], b"plain", *many[8:]]
    assert await listed(storage, "low", 7) == [*many[:8], b"plain", *many[8:]]
    assert await listed(storage, "high") == [b"high", b"higher"]
    assert await claimed(storage, TOKEN, 7) == [b"high", *many[:6]]
    assert low(await storage.counts()) == (9, 6, 7)
    assert await listed(storage, "low") == [*many[6:8], b"plain", *many[8:]]


async def test_who_leaves_a_line_from_behind_counts_no_more(storage: RedisStorage, link: Link) -> None:
    await keep(storage, b"a", b"b", b"c", b"d", line=LINE)
    await keep(storage, b"late", line=LINE, at_ms=-1)
    await tick_until(storage, lambda found: found.next_due_ms is None)
    assert low(await storage.counts()) == (1, 4, 0)
    for task_id in (b"c", b"a"):  # one that stands behind, and the first, which lets the next go
        assert await storage.abort(task_id, sealed=b"aborted", ttl_ms=LONG, mark=b"") == "aborted"
    assert low(await storage.counts()) == (1, 2, 0)
    assert await claimed(storage, TOKEN) == [b"b"]
    assert (low(await storage.counts()), await listed(storage, "low")) == ((0, 2, 1), [b"d", b"late"])
    await storage.bury([end(b"b")])
    assert await storage.revive(Renewed(b"b", b"fresh", "low", line=LINE))
    assert (low(await storage.counts()), await listed(storage, "low")) == ((1, 2, 0), [b"d", b"late", b"b"])
    for number in range(3):
        for claim in await take(storage, token=b"w.%d" % (2 + number)):
            await storage.complete([end(claim.untrusted_id, claim.token)])
    assert low(await storage.counts()) == (0, 0, 0)
    assert await link.command("EXISTS", storage.keys.lines) == 0


async def test_revived_dead_letters_of_a_fair_key_stand_in_its_line_again(storage: RedisStorage, link: Link) -> None:
    many = [b"%02d" % number for number in range(20)]
    await keep(storage, *many, line=FAIR)
    for token in (b"w.1", b"w.2", b"w.3"):
        assert all(await storage.bury([end(task_id, token) for task_id in await claimed(storage, token)]))
    assert (low(await storage.counts()), (await storage.counts()).dead) == ((0, 0, 0), 20)
    for task_id in many:
        assert await storage.revive(Renewed(task_id, b"fresh " + task_id, "low", line=FAIR)) is True
    assert await storage.revive(Renewed(many[-1], b"fresh " + many[-1], "low", line=FAIR)) is True  # a repetition
    await keep(storage, b"few", line=b"f" + b"3" * 32)
    assert (low(await storage.counts()), (await storage.counts()).dead) == ((9, 12, 0), 0)
    assert await listed(storage, "low") == [*many[:8], b"few", *many[8:]]
    ran = list[bytes]()
    while claims := await take(storage, 1, token=b"again.%d" % len(ran)):
        assert await storage.complete([end(claims[0].untrusted_id, claims[0].token)]) == [True]
        ran += [claims[0].untrusted_id]
    assert ran == [*many[:8], b"few", *many[8:]]
    assert low(await storage.counts()) == (0, 0, 0)
    assert await link.command("EXISTS", storage.keys.lines, *storage.keys.buckets) == 0


async def test_what_somebody_writes_among_those_who_stand_behind_goes(storage: RedisStorage, link: Link) -> None:
    await keep(storage, b"a", b"b", b"c", line=LINE)
    await put(storage, b"plain")
    for forged in (b"w", b"wlow:1:plain", b"wlow:2:nobody", b"wlow:1:a", b"xyz", LINE + b":junk", b"w" * 99):
        await link.command("ZADD", storage.keys.lines, 0, forged)
    await link.command("ZADD", storage.keys.lines, 7, b"wlow:3:nobody")
    await look_after(storage, link)
    assert (low(await storage.counts()), await listed(storage, "low")) == ((2, 2, 0), [b"a", b"plain", b"b", b"c"])
    for number in range(4):
        for claim in await take(storage, token=b"w.%d" % (2 + number)):
            assert await storage.complete([end(claim.untrusted_id, claim.token)]) == [True]
        await look_after(storage, link)
    assert low(await storage.counts()) == (0, 0, 0)
    assert await link.command("EXISTS", storage.keys.lines) == 0
