"""What stands beside the tasks: presence, entries of the quarantine one by one, resealing, the audit log."""

from __future__ import annotations

import pytest

from secure_queue.evidence import InLine, Place, Queueing, Renewed, Structure, Whereabouts
from secure_queue.handover import Outgoing
from secure_queue.keyed import Keyed
from secure_queue.limiting import Ask, Booking, Parked, Rank
from secure_queue.redis.link import Link, WrongType
from secure_queue.redis.storage import RedisStorage
from secure_queue.reports import Report
from secure_queue.storage import Standing
from tests.conftest import lasting_keys
from tests.servers import PATIENCE, eventually
from tests.storage.verbs import (
    FAIR,
    LINE,
    LONG,
    SEALED,
    TOKEN,
    end,
    keep,
    put,
    put_and_take,
    refused,
    standing,
    take,
    tick,
)

pytestmark = pytest.mark.anyio

FRESH = b"under a fresh seal"


async def put_aside(storage: RedisStorage, task_id: bytes) -> str:
    """Put one task aside, and say what its entry is called."""
    await put_and_take(storage, task_id, token=TOKEN + task_id)
    assert await refused(storage, task_id, TOKEN + task_id, "unknown-key")
    _, entries = await storage.scannable().put_aside(b"")
    return entries[-1].entry.decode()


async def test_a_schedule_is_read_with_its_mark_by_who_may_only_read(storage: RedisStorage) -> None:
    evidence = storage.evidence()
    assert await evidence.schedule_of(b"nightly") == (None, b"")
    await storage.schedule(b"nightly", b"sealed schedule", PATIENCE)
    stored, mark = await evidence.schedule_of(b"nightly")
    assert (stored, mark.endswith(b":0:")) == (b"sealed schedule", True)
    await storage.schedule(b"nightly", b"x" * 1001, PATIENCE)
    assert (await evidence.schedule_of(b"nightly"))[0] == 1001


async def test_who_lives_is_known_until_its_time_is_over(storage: RedisStorage, link: Link) -> None:
    evidence = storage.evidence()
    await evidence.announce("a", b"record a", LONG)
    await evidence.announce("b", b"record b", LONG)
    await evidence.announce("a", b"record a, later", LONG)
    await evidence.forget_gone()
    assert sorted(await evidence.who()) == [(b"a", b"record a, later"), (b"b", b"record b")]
    assert await lasting_keys(link) == []
    await evidence.announce("a", b"its last word", 1)
    await eventually(lambda: _lives(storage, [b"b"]))
    await link.command("ZADD", storage.keys.present, 1, "a")
    await evidence.forget_gone()
    assert await link.command("HKEYS", storage.keys.presence) == [b"b"]
    assert await link.command("ZRANGE", storage.keys.present, 0, -1) == [b"b"]


async def _lives(storage: RedisStorage, names: list[bytes]) -> bool:
    return [name for name, _ in await storage.evidence().who()] == names


async def test_junk_among_the_processes_is_not_told_at_length(storage: RedisStorage, link: Link) -> None:
    await storage.evidence().announce("a", b"x" * 100_000, LONG)
    await storage.evidence().announce("b" * 5_000, b"record", LONG)
    assert [(len(name), record) for name, record in await storage.evidence().who()] == [(300, b"record")]


async def test_an_entry_comes_back_once(storage: RedisStorage) -> None:
    entry = await put_aside(storage, b"a")
    evidence = storage.evidence()
    found = await evidence.put_aside(entry)
    assert found is not None and (found.untrusted_id, found.untrusted) == (b"a", SEALED)
    assert await evidence.readmit("1-1", Renewed(b"a", FRESH, "high")) == "unknown"
    assert [await evidence.readmit(entry, Renewed(b"a", FRESH, "high")) for _ in range(2)] == [
        "released",
        "released",
    ]  # the second: a lost reply
    assert await evidence.put_aside(entry) is None
    [claim] = await take(storage, token=b"w.2")
    assert (claim.untrusted_id, claim.untrusted, claim.tries, claim.priority) == (b"a", FRESH, 1, "high")
    assert (await storage.counts()).quarantined == 0


@pytest.mark.parametrize("line", [LINE, FAIR], ids=["order", "turns"])
async def test_an_entry_comes_back_to_the_end_of_its_line(storage: RedisStorage, line: bytes) -> None:
    entry = await put_aside(storage, b"a")
    await keep(storage, *(b"%d" % number for number in range(8)), line=line)
    for _ in range(2):  # the second: a lost reply
        assert await storage.evidence().readmit(entry, Renewed(b"a", FRESH, "low", line=line)) == "released"
    ran = list[bytes]()
    while claims := await take(storage, 1, token=b"w.%d" % (2 + len(ran))):
        assert await storage.complete([end(claims[0].untrusted_id, claims[0].token)]) == [True]
        ran += [claims[0].untrusted_id]
        counts = await storage.counts()
        assert counts.waiting == 9 - len(ran)
        assert counts.in_lines["low"] == max(9 - len(ran) - (1 if line == LINE else 8), 0)
    assert ran == [*(b"%d" % number for number in range(8)), b"a"]


async def test_an_entry_stays_where_another_of_its_key_counts(storage: RedisStorage) -> None:
    entry, key = await put_aside(storage, b"a"), {"unique": b"1" * 32, "scope": "unfinished"}

    async def readmit() -> str | bytes:
        return await storage.evidence().readmit(entry, Renewed(b"a", FRESH, "low", **key))  # type: ignore[arg-type]

    await keep(storage, b"b", **key)
    assert await readmit() == b"b"
    assert (await storage.counts()).quarantined == 1
    assert await standing(storage, b"a") is Standing.NOT_FOUND
    [claim] = await take(storage, token=b"w.2")
    await storage.complete([end(b"b", b"w.2")])
    assert [claim.untrusted_id, await readmit(), await readmit()] == [b"b", "released", "released"]
    assert [kept.untrusted_other for kept in await keep(storage, b"c", **key)] == [b"a"]


async def test_an_entry_stays_where_a_task_of_its_id_is_known(storage: RedisStorage) -> None:
    entry = await put_aside(storage, b"a")
    await put(storage, b"a")
    assert await storage.evidence().readmit(entry, Renewed(b"a", FRESH, "low")) == "known"
    [claim] = await take(storage, token=b"w.2")
    await storage.complete([end(b"a", b"w.2")])
    assert claim.untrusted == SEALED
    assert await storage.evidence().readmit(entry, Renewed(b"a", FRESH, "low")) == "known"
    assert (await storage.counts()).quarantined == 1


async def test_an_entry_is_destroyed_once_and_counted_off(storage: RedisStorage, link: Link) -> None:
    first, second = await put_aside(storage, b"a"), await put_aside(storage, b"b")
    before = await link.command("HGET", storage.keys.meta, "quarantined")
    assert [await storage.evidence().destroy(first) for _ in range(2)] == [True, False]
    after = await link.command("HGET", storage.keys.meta, "quarantined")
    assert isinstance(before, bytes) and isinstance(after, bytes) and 0 < int(after) < int(before)
    assert await storage.evidence().put_aside(second) is not None


async def test_a_payload_is_resealed_only_if_nobody_has_changed_it(storage: RedisStorage, link: Link) -> None:
    evidence = storage.evidence()
    await put_and_take(storage, b"b")
    await storage.complete([end(b"b", sealed=b"result")])
    assert await evidence.reseal(Place(Structure.RESULT, b"b"), b"result", FRESH)
    assert (await storage.look_up(b"b")).untrusted_result == FRESH
    assert await link.command("PTTL", storage.keys.result(b"b")) > 0  # type: ignore[operator]
    await put(storage, b"a")
    for _ in range(2):  # the second one is a retry
        assert await evidence.reseal(Place(Structure.BUCKET, b"a"), SEALED, FRESH)
    assert not await evidence.reseal(Place(Structure.BUCKET, b"a"), SEALED, b"other")
    assert (await storage.look_up(b"a")).untrusted_task == FRESH
    assert not await evidence.reseal(Place(Structure.RESULT, b"gone"), b"x", FRESH)
    assert await standing(storage, b"gone") is Standing.NOT_FOUND


async def test_a_part_and_an_end_on_its_way_are_resealed_where_they_lie(storage: RedisStorage, link: Link) -> None:
    evidence, keys = storage.evidence(), storage.keys
    await put_and_take(storage, b"a")
    await storage.report([Report(b"a", TOKEN, 0, b"part", LONG)])
    await storage.follow([(b"a", b"0:child")], tell=False, deadline=PATIENCE)
    await storage.complete([end(b"a", sealed=b"result")])
    assert await evidence.reseal(Place(Structure.PARTIAL, b"a", b"0"), b"part", FRESH)
    assert (await storage.partial(b"a", 0, 9))[1] == [FRESH]
    assert await link.command("PTTL", keys.partial(b"a")) > 0  # type: ignore[operator]
    on_its_way = Place(Structure.OUTBOX, b"a", b"a", b"0:child\0")
    assert not await evidence.reseal(on_its_way, b"another", FRESH)
    assert await evidence.reseal(on_its_way, b"result", FRESH)
    assert await storage.outgoing() == [Outgoing(b"a", b"a", b"0:child", FRESH)]


async def test_the_log_keeps_its_order_and_loses_only_what_was_kept_elsewhere(storage: RedisStorage) -> None:
    evidence = storage.evidence()
    assert await evidence.note([b"one", b"two"]) == 2
    assert await evidence.note([b"three"]) == 3
    assert await evidence.notes(0) == [b"one", b"two", b"three"]
    assert await evidence.notes(3) == []
    assert await evidence.forget_notes(2, b"two") == 0
    assert [await evidence.forget_notes(2, b"one") for _ in range(2)] == [2, 0]  # the second one is a retry
    assert await evidence.notes(0) == [b"three"]


@pytest.mark.parametrize(("line", "others"), [(b"o" + b"1" * 32, 2), (b"f" + b"1" * 32, 9)], ids=["order", "turns"])
async def test_how_many_of_its_key_are_before_a_task(storage: RedisStorage, line: bytes, others: int) -> None:
    evidence, ids = storage.evidence(), [b"k%d" % number for number in range(others + 1)]
    await storage.enqueue_keyed([Keyed(name, SEALED, 0, "low", b"", "", 0, False, 0, line) for name in ids], PATIENCE)
    assert (await evidence.whereabouts(ids[-1])).line == InLine(line.startswith(b"o"), others, ids[0])
    assert (await evidence.whereabouts(ids[0])).line is None
    await take(storage, 2)
    assert (await evidence.whereabouts(ids[-1])).line == (None if others > 2 else InLine(True, 2, ids[0]))


async def test_where_a_task_stands_and_what_is_before_it(storage: RedisStorage) -> None:
    evidence = storage.evidence()
    await put(storage, b"h1", priority="high")
    await put(storage, b"l1", b"l2")
    await put(storage, b"later", at_ms=-LONG)
    await tick(storage)
    found = await evidence.whereabouts(b"l2")
    assert found == Whereabouts(None, 0, None, 1, 1, 1, 0, (1, 2))
    due = await evidence.whereabouts(b"later")
    assert (due.priority, due.before) == (1, None) and LONG - 60_000 < due.due_left_ms <= LONG
    await take(storage, 1)
    running = await evidence.whereabouts(b"h1")
    assert running.untrusted_run == b"1:high:" + TOKEN and 0 < running.lease_left_ms <= LONG
    assert (running.priority, running.ready) == (None, (0, 2))
    await storage.park("high", [Parked(b"h1", TOKEN, LONG, "x" * 1000)])
    assert (await evidence.whereabouts(b"h1")).untrusted_note == b"x" * 400
    assert (await evidence.whereabouts(b"gone")).untrusted_run is None


async def test_who_holds_a_limit_and_who_waits_for_it(storage: RedisStorage) -> None:
    evidence, limit = storage.evidence(), b"l" * 32
    assert await evidence.queueing(limit, b"0 a") == Queueing(None, 0, 0, 0, 0, 0, ())
    await storage.admit(LONG, [Ask(limit, b"0 %c" % letter, TOKEN, 1, Rank(0, 9)) for letter in b"abc"])
    assert await evidence.queueing(limit, b"0 c") == Queueing(1, 2, 1, 0, 0, 0, (b"0 a " + TOKEN,))
    rate = b"r" * 32
    await storage.book([Booking(rate, b"0 %c" % letter, TOKEN, 1, LONG, Rank(0, 9)) for letter in b"ab"])
    await storage.stall(rate, LONG)
    found = await evidence.queueing(rate, b"0 b")
    assert (found.before, found.waiting, found.starts) == (0, 1, 1)
    assert 0 < found.left_ms <= LONG and 0 < found.stalled_ms <= LONG


async def test_keys_of_a_wrong_type_are_moved_aside(storage: RedisStorage, link: Link) -> None:
    evidence, own = storage.evidence(), storage.keys
    for key in (own.presence, own.present, own.quarantine, own.audit):
        await link.command("SET", key, "junk")
    await evidence.announce("a", b"record", LONG)
    assert await evidence.who() == [(b"a", b"record")]
    assert await evidence.put_aside("1-1") is None
    await link.command("SET", own.present, "junk")
    await evidence.forget_gone()
    for key in (own.quarantine, own.ready["low"]):
        await link.command("SET", key, "junk")
    assert await evidence.readmit("1-1", Renewed(b"a", FRESH, "low")) == "unknown"
    await link.command("SET", own.quarantine, "junk")
    assert not await evidence.destroy("1-1")
    with pytest.raises(WrongType):  # a worker may not rename the audit log; an audit tells of it
        await evidence.note([b"one"])
    assert await evidence.forget_notes(1, b"junk") == 0
    assert await evidence.note([b"one"]) == 1
