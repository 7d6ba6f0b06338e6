"""enqueue_keyed and enter: a key is there once, in the place of another one that waits, or in its line."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue.evidence import Renewed
from secure_queue.limiting import Parked
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from tests.servers import PATIENCE, eventually
from tests.storage.verbs import (
    FAIR,
    LINE,
    LONG,
    OTHER,
    TOKEN,
    back,
    claimed,
    end,
    ids_of,
    keep,
    keyed,
    look_after,
    put,
    refused,
    standing,
    take,
    take_marker,
    tick,
    tick_until,
)

pytestmark = pytest.mark.anyio

KEY = b"0" * 32
SOON = 60


async def others(storage: RedisStorage, *ids: bytes, **options: Any) -> list[bytes | None]:
    """Which tasks stand in the way of these."""
    return [kept.untrusted_other for kept in await keep(storage, *ids, unique=KEY, **options)]


async def test_one_that_waits_stands_in_the_way_until_it_is_claimed(storage: RedisStorage) -> None:
    assert await others(storage, b"a", b"b", scope="queued") == [None, b"a"]
    assert await standing(storage, b"b") is Standing.NOT_FOUND
    assert await claimed(storage, TOKEN) == [b"a"]
    assert await others(storage, b"c", scope="queued") == [None]
    await storage.retry("low", [back(b"a")])  # what counts is who came last
    assert await others(storage, b"d", scope="queued") == [b"c"]


async def test_one_that_has_not_ended_stands_in_the_way_until_it_has(storage: RedisStorage) -> None:
    assert await others(storage, b"a", scope="unfinished") == [None]
    await claimed(storage, TOKEN)
    assert await others(storage, b"b", scope="unfinished") == [b"a"]
    await storage.bury([end(b"a")])
    assert await others(storage, b"c", scope="unfinished") == [None]
    await claimed(storage, OTHER)
    await storage.complete([end(b"c", OTHER)])
    assert await others(storage, b"d", scope="unfinished") == [None]


async def test_for_its_time_one_stands_in_the_way_whatever_became_of_it(storage: RedisStorage) -> None:
    assert await others(storage, b"a", window_ms=LONG) == [None]
    await claimed(storage, TOKEN)
    await storage.complete([end(b"a")])
    assert await others(storage, b"b", window_ms=LONG) == [b"a"]
    assert await others(storage, b"c", window_ms=SOON) == [b"a"]  # the time of the one that counts


async def test_after_its_time_one_stands_in_nobodys_way(storage: RedisStorage) -> None:
    assert await others(storage, b"a", window_ms=SOON) == [None]

    async def is_over() -> bool:
        return await others(storage, b"b", window_ms=SOON) == [None]

    await eventually(is_over)


async def test_a_call_that_is_repeated_says_the_same_again(storage: RedisStorage) -> None:
    for _ in range(2):
        assert [kept[:2] for kept in await keep(storage, b"a", unique=KEY, scope="unfinished", line=LINE)] == [
            (True, None)
        ]
    assert await claimed(storage, TOKEN) == [b"a"]
    await storage.complete([end(b"a", keep=1)])
    assert [kept.new for kept in await keep(storage, b"a", unique=KEY, scope="unfinished")] == [True]
    assert await claimed(storage, OTHER) == []
    other = keyed(b"b")._replace(sealed=b"another")
    await put(storage, b"b")
    for _ in range(2):  # while it is stored, and by its result
        assert [kept[:2] for kept in await storage.enqueue_keyed([other], PATIENCE)] == [(False, None)]
        await storage.complete([end(one, b"w.2") for one in await claimed(storage, b"w.2")])


async def test_what_was_accepted_is_stored_again_whatever_stands_in_its_way_by_then(
    storage: RedisStorage, link: Link
) -> None:
    assert await others(storage, b"a", scope="unfinished") == [None]
    await storage.complete([end(name) for name in await claimed(storage, TOKEN)])
    assert await others(storage, b"b", scope="unfinished") == [None]
    await link.command("DEL", *storage.keys.fixed, storage.keys.result(b"a"))  # another server is primary, without them
    assert await others(storage, b"c", scope="unfinished") == [None]
    await storage.replay._say_again()
    assert [await standing(storage, one) for one in (b"a", b"b", b"c")] == [Standing.QUEUED] * 3
    assert await others(storage, b"d", scope="unfinished") == [b"c"]


@pytest.mark.parametrize("meanwhile", ["nothing", "one that has ended", "one whose time goes on"])
async def test_what_is_stored_again_counts_unless_another_does(
    storage: RedisStorage, link: Link, meanwhile: str
) -> None:
    options: dict[str, Any] = {"window_ms": LONG} if meanwhile == "one whose time goes on" else {"scope": "unfinished"}
    assert await others(storage, b"a", **options) == [None]
    await link.command("DEL", *storage.keys.fixed)  # another server is primary, without it
    if meanwhile != "nothing":
        assert await others(storage, b"b", **options) == [None]
        await storage.complete([end(name) for name in await claimed(storage, TOKEN)])
    await storage.replay._say_again()
    counts = b"b" if meanwhile == "one whose time goes on" else b"a"
    assert await others(storage, b"c", **options) == [counts]
    await storage.complete([end(name, OTHER) for name in await claimed(storage, OTHER)])
    assert await others(storage, b"d", **options) == [counts if "window_ms" in options else None]


async def test_what_is_stored_again_counts_for_its_time(storage: RedisStorage, link: Link) -> None:
    assert await others(storage, b"a", window_ms=LONG) == [None]
    await link.command("DEL", *storage.keys.fixed)
    await storage.replay._say_again()
    await storage.complete([end(name) for name in await claimed(storage, TOKEN)])
    assert await others(storage, b"b", window_ms=LONG) == [b"a"]


async def test_one_that_waits_is_replaced_and_one_that_runs_is_not(storage: RedisStorage, link: Link) -> None:
    options = {"scope": "unfinished", "replaces": True}
    assert await others(storage, b"ready", priority="high", **options) == [None]
    await storage.follow([(b"ready", b"0:child")], tell=True, deadline=PATIENCE)
    assert await others(storage, b"due", at_ms=-LONG, **options) == [None]
    await storage.follow([(b"due", b"0:child")], tell=True, deadline=PATIENCE)
    assert await others(storage, b"last", **options) == [None]
    assert [kept.new for kept in await keep(storage, b"ready", priority="high", unique=KEY, **options)] == [
        True
    ]  # late
    await tick(storage)
    assert await claimed(storage, TOKEN) == [b"last"]
    assert await others(storage, b"more", **options) == [b"last"]
    assert await others(storage, b"due", at_ms=-LONG, **options) == [None], "a late repetition"
    assert [await standing(storage, one) for one in (b"ready", b"due", b"more")] == [Standing.NOT_FOUND] * 3
    assert await link.command("HKEYS", storage.keys.unique) == [KEY]
    evidence = storage.evidence()
    assert [await evidence.replaced_by(one, waits=False) for one in (b"ready", b"due", b"last")] == [
        b"due",
        b"last",
        None,
    ]
    assert await evidence.replaced_by(b"due", waits=True) is None
    told = [(end.untrusted_id, end.untrusted_children, end.untrusted) for end in await storage.outgoing()]
    assert sorted(told) == [(b"due", b"0:child", b""), (b"ready", b"0:child", b"")]


async def test_the_notes_of_what_was_replaced_are_limited(storage: RedisStorage, link: Link) -> None:
    await link.command("HSET", storage.keys.replaced, *[part for n in range(10_000) for part in (b"%d" % n, b"x")])
    await others(storage, b"a", at_ms=-LONG, replaces=True)
    await others(storage, b"b", at_ms=-LONG, replaces=True)
    assert await storage.evidence().replaced_by(b"a", waits=True) == b"b"
    await tick(storage)
    assert await link.command("HGETALL", storage.keys.replaced) == [b"a", b"b"]
    left = await link.command("PTTL", storage.keys.replaced)
    assert isinstance(left, int) and 0 < left <= 3_600_000


async def test_calls_put_each_other_off_but_not_for_ever(storage: RedisStorage, link: Link) -> None:
    options = {"unique": KEY, "replaces": True, "patience_ms": 2 * LONG}
    await keep(storage, b"a", at_ms=-LONG, **options)
    await keep(storage, b"b", at_ms=-LONG, **options)
    await tick(storage)
    assert [await standing(storage, one) for one in (b"a", b"b")] == [Standing.NOT_FOUND, Standing.SCHEDULED]
    first = (await storage.look_up(b"b")).due_ms
    await keep(storage, b"c", at_ms=-5 * LONG, **options)
    assert first < (await storage.look_up(b"c")).due_ms < first + 2 * LONG
    await keep(storage, b"d", at_ms=-LONG, **(options | {"patience_ms": 1}))
    await tick_until(storage, lambda found: found.promoted)
    assert await claimed(storage, TOKEN) == [b"d"]
    assert await link.command("HLEN", storage.keys.bucket(b"d")) == 2, "the task and its run, and no line"


async def test_of_a_line_one_is_let_go_when_the_one_before_has_ended(storage: RedisStorage, link: Link) -> None:
    await keep(storage, b"a", b"b", b"c", b"d", b"e", line=LINE)
    assert await take_marker(storage) is True
    assert await claimed(storage, b"w.1") == [b"a"]
    await storage.retry("low", [back(b"a", b"w.1")])
    assert await claimed(storage, b"w.2") == [b"a"]  # it keeps its place
    await storage.complete([end(b"a", b"w.2")])
    assert await take_marker(storage) is True
    assert await claimed(storage, b"w.3") == [b"b"]
    assert await storage.abort(b"c", sealed=b"aborted", ttl_ms=LONG, mark=b"") == "aborted"  # out of its middle
    await storage.bury([end(b"b", b"w.3")])
    assert await claimed(storage, b"w.4") == [b"d"]
    await refused(storage, b"d", b"w.4", "malformed")
    assert await storage.abort(b"e", sealed=b"aborted", ttl_ms=LONG, mark=b"") == "aborted"  # at its front
    await keep(storage, b"f", line=LINE)
    assert await claimed(storage, b"w.5") == [b"f"]
    await storage.complete([end(b"f", b"w.5")])
    assert await link.command("EXISTS", storage.keys.lines, storage.keys.unique) == 0
    left = [name for key in storage.keys.buckets for name in await link.command("HKEYS", key)]  # type: ignore[union-attr]
    assert sorted(left) == [b"!db", b"!rb", b"b"]


async def test_one_that_is_replaced_at_the_front_of_its_line_lets_the_next_one_go(storage: RedisStorage) -> None:
    options = {"scope": "queued", "replaces": True, "line": LINE}
    assert await others(storage, b"a", **options) == [None]
    assert await others(storage, b"b", **options) == [None]
    assert await claimed(storage, TOKEN) == [], "the one that has been replaced was met"
    assert await claimed(storage, OTHER) == [b"b"]


async def test_one_that_is_replaced_while_it_is_parked_is_told_of_and_leaves_its_line(
    storage: RedisStorage, link: Link
) -> None:
    options = {"scope": "queued", "replaces": True, "line": LINE}
    assert await others(storage, b"a", **options) == [None]
    assert await claimed(storage, TOKEN) == [b"a"]
    await storage.park("low", [Parked(b"a", TOKEN, LONG, "permit 0 x")])
    await storage.watch("client", [b"a"])
    await storage.follow([(b"a", b"0:child")], tell=True, deadline=PATIENCE)
    assert (await tick(storage)).untrusted_left == {}
    assert await others(storage, b"b", **options) == [None]
    assert (await tick(storage)).untrusted_left == {b"a": b"permit 0 x"}
    assert await link.command("EXISTS", storage.keys.bucket(b"a")) == 0
    assert await claimed(storage, OTHER) == [b"b"]


async def test_a_line_stays_closed_while_the_lease_of_a_dead_worker_lasts(storage: RedisStorage) -> None:
    await keep(storage, b"a", b"b", line=LINE)
    assert await claimed(storage, TOKEN, lease_ms=SOON) == [b"a"]
    assert await claimed(storage, OTHER) == []
    await tick_until(storage, lambda found: found.taken_back)
    assert await claimed(storage, b"w.2") == [b"a"]


async def test_a_delayed_task_joins_its_line_when_its_time_has_come(storage: RedisStorage) -> None:
    await keep(storage, b"late", at_ms=-SOON, line=LINE)
    assert await take_marker(storage) is True
    await keep(storage, b"a", line=LINE)
    assert await claimed(storage, TOKEN) == [b"a"]
    await tick_until(storage, lambda found: found.next_due_ms is None)
    assert await claimed(storage, OTHER) == []
    await storage.complete([end(b"a")])
    assert await claimed(storage, b"w.2") == [b"late"]


async def test_a_dead_letter_that_is_revived_joins_its_line_anew(storage: RedisStorage) -> None:
    await keep(storage, b"a", b"b", line=LINE)
    await claimed(storage, TOKEN)
    await storage.bury([end(b"a")])
    assert await storage.revive(Renewed(b"a", b"fresh", "low", line=LINE))
    assert await claimed(storage, OTHER) == [b"b"]
    await storage.complete([end(b"b", OTHER)])
    assert await claimed(storage, b"w.2") == [b"a"]


@pytest.mark.parametrize("scope", ["queued", "unfinished"])
async def test_a_dead_letter_is_not_put_back_while_another_of_its_key_counts(storage: RedisStorage, scope: str) -> None:
    async def revive() -> bool | bytes:
        return await storage.revive(Renewed(b"a", b"fresh", "low", unique=KEY, scope=scope))

    assert await others(storage, b"a", scope=scope) == [None]
    await claimed(storage, TOKEN)
    await storage.bury([end(b"a")])
    assert await others(storage, b"b", scope=scope) == [None]
    assert await revive() == b"b"
    assert await standing(storage, b"a") is Standing.DEAD
    assert await claimed(storage, OTHER) == [b"b"]
    if scope == "unfinished":
        assert await revive() == b"b"
        await storage.complete([end(b"b", OTHER)])
    assert await revive() is True
    assert await revive() is True  # a repetition after a lost reply
    assert await others(storage, b"c", scope=scope) == [b"a"]
    assert await claimed(storage, b"w.2") == [b"a"]


async def test_a_dead_letter_whose_key_is_its_own_counts_for_as_long_as_it_did(storage: RedisStorage) -> None:
    assert await others(storage, b"a", window_ms=LONG) == [None]
    await claimed(storage, TOKEN)
    await storage.bury([end(b"a")])
    assert await others(storage, b"b", window_ms=LONG) == [b"a"]
    assert await storage.revive(Renewed(b"a", b"fresh", "low", unique=KEY)) is True
    await claimed(storage, OTHER)
    await storage.complete([end(b"a", OTHER)])
    assert await others(storage, b"b", window_ms=LONG) == [b"a"]


async def test_of_each_fair_key_some_are_let_go_and_the_next_when_one_is_claimed(storage: RedisStorage) -> None:
    many = [b"m%02d" % number for number in range(12)]
    await keep(storage, *many, line=FAIR)
    await keep(storage, b"few", line=b"f" + b"3" * 32, priority="low")
    more, claims = await storage.claim("w", b"w.1", 20, LONG)
    assert (more, ids_of(claims)) == (True, [*many[:8], b"few"]), "those of them who are let go now are told of"
    assert await claimed(storage, b"w.2", 20) == many[8:]
    await storage.complete([end(b"few", b"w.1")])


async def test_what_comes_back_of_a_fair_key_after_its_turn_takes_no_other(storage: RedisStorage) -> None:
    many = [b"m%02d" % number for number in range(22)]
    await keep(storage, *many, line=FAIR)
    assert await claimed(storage, b"w.1", 3) == many[:3]
    assert await claimed(storage, b"w.2", 1, lease_ms=0) == many[3:4]
    await storage.retry("low", [back(many[0], b"w.1"), back(many[1], b"w.1", at_ms=-SOON)])
    await storage.release("low", [back(many[2], b"w.1")])
    await tick_until(storage, lambda found: found.next_due_ms is None)
    counts = await storage.counts()
    assert (counts.ready["low"], counts.in_lines["low"], counts.running) == (12, 10, 0)
    first, *others = await claimed(storage, b"w.3", 12)
    assert (first, others[:9]) == (many[2], [*many[4:12], many[0]])
    assert sorted(others[9:]) == [many[1], many[3]]
    assert await claimed(storage, b"w.4", 12) == many[12:20]


async def test_a_line_whose_front_is_gone_or_lies_nowhere_goes_on(storage: RedisStorage, link: Link) -> None:
    await keep(storage, b"a", b"b", b"c", line=LINE)
    await link.command("HDEL", storage.keys.bucket(b"a"), b"a")
    await look_after(storage, link)
    missing, second = await take(storage)
    assert (missing.untrusted_id, missing.untrusted, second.untrusted_id) == (b"a", None, b"b")
    await storage.complete([end(b"b")])
    await link.command("DEL", storage.keys.ready["low"])
    await look_after(storage, link)
    assert await claimed(storage, OTHER) == [b"c"]
    await link.command("ZADD", storage.keys.lines, 0, "junk")
    await storage.complete([end(b"c", OTHER)])
    await look_after(storage, link)
    assert await link.command("EXISTS", storage.keys.lines) == 0


async def test_keys_that_do_not_count_any_more_are_swept(storage: RedisStorage, link: Link) -> None:
    for number in range(20):
        await keep(storage, b"%d" % number, unique=b"%032d" % number, scope="unfinished")
    await keep(storage, b"for a time", unique=KEY[:-1] + b"x", window_ms=LONG)
    await link.command("ZADD", storage.keys.finished, 1, "long ago")
    claims = await take(storage, 21)
    await storage.complete([end(claim.untrusted_id) for claim in claims if claim.untrusted_id != b"7"])
    await look_after(storage, link)
    found = await link.command("HKEYS", storage.keys.unique)
    assert await link.command("EXISTS", storage.keys.finished) == 0
    assert sorted(found) == [b"%032d" % 7, KEY[:-1] + b"x"]  # type: ignore[type-var,arg-type]


async def test_one_run_sits_on_the_seat_of_a_key_as_long_as_it_goes_on(storage: RedisStorage) -> None:
    await put(storage, b"a", b"b")
    await claimed(storage, b"w.1", 1)
    await claimed(storage, b"w.2", 1)
    for _ in range(2):
        assert await storage.enter(b"a", b"w.1", KEY) is None
    assert await storage.enter(b"b", b"w.2", KEY) == b"a"
    assert await storage.enter(b"b", b"w.2", KEY[::-1] + b"2") is None
    assert await storage.enter(b"b", b"stale", KEY) == b"b"
    await storage.release("low", [back(b"a", b"w.1")])
    assert await storage.enter(b"b", b"w.2", KEY) is None
