"""schedule, unschedule, timetable and fire: kept once, fired once, by whoever comes first."""

from __future__ import annotations

from typing import cast

import pytest

from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Standing
from secure_queue.timetable import Fired, Firing
from tests.servers import PATIENCE
from tests.storage.conftest import KEYS
from tests.storage.verbs import end, standing, take, take_marker

pytestmark = pytest.mark.anyio

NAME, SEALED = b"nightly", b"sealed schedule"
DAY_MS = 86_400_000


async def mark_of(storage: RedisStorage, name: bytes = NAME) -> bytes:
    return (await storage.timetable(b"", [name])).untrusted_marks[0]


async def firing(storage: RedisStorage, task_id: bytes = b"run", **changes: object) -> Firing:
    """A firing of now, decided upon the mark that stands there."""
    now = (await storage.timetable(b"", [])).now_ms
    made = Firing(
        NAME, await mark_of(storage), b"%d:%d:%s" % (now, now, task_id), now, SEALED, b"", task_id, b"task", "low"
    )
    return made._replace(**changes)  # type: ignore[arg-type]


async def put(storage: RedisStorage, name: bytes = NAME, sealed: bytes = SEALED) -> None:
    assert await storage.schedule(name, sealed, PATIENCE)


async def test_schedules_are_read_once_for_each_version(storage: RedisStorage) -> None:
    await put(storage)
    first = await storage.timetable(b"?", [NAME, b"unknown"])
    assert first.untrusted_schedules == {NAME: SEALED}
    assert first.untrusted_marks[0].endswith(b":0:") and first.untrusted_marks[1] == b""
    assert (await storage.timetable(first.version, [])).untrusted_schedules is None
    await put(storage, b"other", b"another")
    second = await storage.timetable(first.version, [])
    assert second.untrusted_schedules == {NAME: SEALED, b"other": b"another"}


async def test_a_repeated_schedule_changes_nothing_and_another_one_replaces_it(storage: RedisStorage) -> None:
    await put(storage)
    version = (await storage.timetable(b"?", [])).version
    await put(storage)
    assert (await storage.timetable(version, [])).untrusted_schedules is None
    await put(storage, sealed=b"changed")
    assert (await storage.timetable(version, [])).untrusted_schedules == {NAME: b"changed"}


async def test_marks_of_schedules_that_code_has_lost_are_dropped_some_day(storage: RedisStorage, link: Link) -> None:
    await put(storage)
    table = await storage.timetable(b"?", [])
    old, recent = table.now_ms - 401 * DAY_MS, table.now_ms - 399 * DAY_MS
    marks = {NAME: old, b"in code": old, b"lost": old, b"of others": recent, b"ahead": table.now_ms + 401 * DAY_MS}
    for name, looked in marks.items():
        await link.command("HSET", storage.keys.fired, name, f"{looked}:{looked}:run:0f")
    await link.command("HSET", storage.keys.fired, "junk", "junk")
    await storage.timetable(table.version, [])
    assert await link.command("HLEN", storage.keys.fired) == 6  # looked at when somebody reads all schedules
    found = await storage.timetable(b"?", [b"in code", b"lost too"])
    assert found.untrusted_marks == [b"%d:%d:run:0f" % (old, old), b""]
    kept = cast("list[bytes]", await link.command("HKEYS", storage.keys.fired))
    assert set(kept) == {NAME, b"in code", b"of others"}


async def test_a_removed_schedule_is_gone(storage: RedisStorage, link: Link) -> None:
    await put(storage)
    before = await firing(storage)
    assert await storage.unschedule(NAME)
    assert not await storage.unschedule(NAME)
    assert (await storage.timetable(b"?", [NAME])).untrusted_schedules == {}
    assert await storage.fire(before._replace(seen=b"")) is Fired.GONE
    assert await link.command("EXISTS", KEYS.schedules, KEYS.fired) == 0


async def test_a_firing_enqueues_one_task(storage: RedisStorage) -> None:
    await put(storage)
    fire = await firing(storage)
    assert await storage.fire(fire) is Fired.FIRED
    assert await mark_of(storage) == fire.mark
    [claim] = await take(storage)
    assert (claim.untrusted_id, claim.untrusted, claim.priority) == (b"run", b"task", "low")


async def test_of_two_workers_one_fires(storage: RedisStorage) -> None:
    await put(storage)
    fire = await firing(storage)
    assert await storage.fire(fire) is Fired.FIRED
    assert await storage.fire(fire) is Fired.FIRED, "the same call again is a retry after a lost reply"
    assert await storage.fire(fire._replace(sealed=b"of another worker")) is Fired.STALE
    assert len(await take(storage)) == 1


async def test_a_run_that_has_ended_is_not_fired_again_when_its_mark_was_lost(
    storage: RedisStorage, link: Link
) -> None:
    fire = await firing(storage, sealed_schedule=b"")
    assert await storage.fire(fire) is Fired.FIRED
    assert await take_marker(storage) is True
    await storage.complete([end(b"run", claim.token) for claim in await take(storage)])
    await link.command("DEL", KEYS.fired)
    assert await storage.fire(fire) is Fired.FIRED
    assert await take(storage, token=b"w.2") == []


async def test_a_firing_of_the_future_is_refused(storage: RedisStorage) -> None:
    await put(storage)
    fire = await firing(storage)
    assert await storage.fire(fire._replace(moment_ms=fire.moment_ms + 60_000)) is Fired.EARLY
    assert await take(storage) == []


async def test_a_run_that_goes_on_keeps_the_next_one_away(storage: RedisStorage) -> None:
    await put(storage)
    await storage.fire(await firing(storage))
    second = await firing(storage, b"second", after=b"run")
    assert await storage.fire(second) is Fired.OVERLAP
    assert (await mark_of(storage)).endswith(b":run"), "looked at, and the run before is still the last"
    assert await standing(storage, b"second") is Standing.NOT_FOUND
    assert await storage.fire(await firing(storage, b"third", after=b"gone")) is Fired.FIRED


async def test_a_firing_that_must_not_be_dropped_waits_for_the_run_before(storage: RedisStorage) -> None:
    await put(storage)
    await storage.fire(await firing(storage))
    second, mark = await firing(storage, b"second", after=b"run", waits=True), await mark_of(storage)
    assert await storage.fire(second) is Fired.WAITS
    assert await mark_of(storage) == mark
    await take(storage)
    assert await storage.complete([end(b"run")]) == [True]
    assert await storage.fire(second) is Fired.FIRED


@pytest.mark.parametrize("waits", [True, False])
async def test_a_run_that_failed_for_good_has_ended(storage: RedisStorage, waits: bool) -> None:
    await put(storage)
    await storage.fire(await firing(storage))
    await take(storage)
    assert await storage.bury([end(b"run")]) == [True]
    assert await storage.fire(await firing(storage, b"second", after=b"run", waits=waits)) is Fired.FIRED


async def test_looking_without_firing_moves_the_mark(storage: RedisStorage) -> None:
    note = (await firing(storage))._replace(task_id=b"", sealed=b"", sealed_schedule=b"")
    assert await storage.fire(note) is Fired.NOTED
    assert await mark_of(storage) == b"%d:0:" % note.moment_ms
    assert await storage.fire(note) is Fired.STALE


async def test_a_mark_says_by_which_rule_it_was_looked(storage: RedisStorage) -> None:
    fired = await firing(storage, sealed_schedule=b"")
    assert await storage.fire(fired._replace(mark=fired.mark + b":old")) is Fired.FIRED
    noted = (await firing(storage))._replace(task_id=b"", sealed=b"", sealed_schedule=b"")
    assert await storage.fire(noted._replace(mark=noted.mark + b":new")) is Fired.NOTED
    assert await mark_of(storage) == b"%d:%d:run:new" % (noted.moment_ms, fired.moment_ms), "what ran last is kept"


async def test_a_schedule_of_code_needs_no_record(storage: RedisStorage, link: Link) -> None:
    assert await storage.fire(await firing(storage, sealed_schedule=b"")) is Fired.FIRED
    assert await link.command("PTTL", KEYS.fired) > 0  # type: ignore[operator]


async def test_a_mark_of_endless_length_counts_as_none(storage: RedisStorage, link: Link) -> None:
    await put(storage)
    await link.command("HSET", KEYS.fired, NAME, b"9" * 5000)
    assert await mark_of(storage) == b""
    assert await storage.fire(await firing(storage)) is Fired.FIRED


async def test_too_large_and_too_many_records_are_left_out(storage: RedisStorage, link: Link) -> None:
    await put(storage)
    await link.command("HSET", KEYS.schedules, b"large", b"x" * 1001)
    assert (await storage.timetable(b"?", [])).untrusted_schedules == {NAME: SEALED}
    await link.command(
        "HSET", KEYS.schedules, *(b"n%d" % number if odd else b"x" for number in range(10_000) for odd in (1, 0))
    )
    assert not await storage.schedule(b"one more", SEALED, PATIENCE)
    await put(storage, sealed=b"a replacement")


@pytest.mark.parametrize("key", [KEYS.schedules, KEYS.fired], ids=["schedules", "fired"])
async def test_a_key_of_another_type_is_moved_aside(storage: RedisStorage, link: Link, key: bytes) -> None:
    await link.command("RPUSH", key, b"misfit")
    await put(storage)
    assert (await storage.timetable(b"?", [])).untrusted_schedules == {NAME: SEALED}
    assert await storage.fire(await firing(storage)) is Fired.FIRED


async def test_schedules_do_not_live_for_ever(storage: RedisStorage, link: Link) -> None:
    await put(storage)
    await storage.fire(await firing(storage))
    for key in (KEYS.schedules, KEYS.fired):
        left = await link.command("PTTL", key)
        assert isinstance(left, int) and left > 399 * 86_400_000
