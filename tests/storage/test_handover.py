"""Tasks that wait for others, the outbox, and hand-overs: each step may be repeated, and none loses a word."""

from __future__ import annotations

import pytest

from secure_queue.handover import FAILED, SUCCEEDED, Description, Followed, Handover, Linked, Outgoing, Question
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import End, Standing
from tests.conftest import lasting_keys
from tests.servers import PATIENCE
from tests.storage.verbs import (
    LONG,
    MARK,
    RESULT,
    TOKEN,
    end,
    ids_of,
    put,
    put_and_take,
    take,
    take_marker,
    tick,
    tick_until,
)

pytestmark = pytest.mark.anyio

PARENT, CHILD, OTHER = b"parent", b"child", b"other"


def linked(task_id: bytes, *, parents: int = 0, children: bytes = b"", decided_by: str = "") -> Linked:
    return Linked(task_id, b"sealed " + task_id, 0, "low", parents, children, LONG, decided_by)


async def store(storage: RedisStorage, *tasks: Linked, look_ms: int = LONG) -> list[bool]:
    return [new for new, _ in await storage.enqueue_linked(tasks, look_ms, PATIENCE)]


async def standing(storage: RedisStorage, task_id: bytes) -> Standing:
    return (await storage.look_up(task_id)).standing


async def finish(storage: RedisStorage, *, bury: bool = False) -> None:
    """Have a parent with one child, and end it."""
    await store(storage, linked(CHILD, parents=1), linked(PARENT, children=b"0:" + CHILD))
    assert ids_of(await take(storage)) == [PARENT]
    assert await (storage.bury if bury else storage.complete)([end(PARENT)]) == [True]


async def test_a_task_waits_until_its_last_parent_is_handed_over(storage: RedisStorage) -> None:
    assert await store(storage, linked(CHILD, parents=2)) == [True]
    assert await standing(storage, CHILD) is Standing.SCHEDULED
    await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    assert await take(storage) == []
    await storage.deliver([Handover(CHILD, OTHER, b"another")], PATIENCE)
    assert await take_marker(storage) is True
    assert ids_of(await take(storage)) == [CHILD]
    questions = [Question(CHILD, (OTHER, PARENT, b"nobody")), Question(PARENT, (OTHER,))]
    assert await storage.handed(questions) == [(3, {OTHER: b"another", PARENT: RESULT}), (0, {})]


async def test_one_parent_may_decide_before_the_others_have_ended(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=3, decided_by=FAILED), linked(OTHER, parents=3))
    for parent, ended in ((PARENT, SUCCEEDED), (b"second", "")):
        await storage.deliver([Handover(child, parent, RESULT, ended) for child in (CHILD, OTHER)], PATIENCE)
    assert await take(storage) == []
    await storage.deliver([Handover(child, b"second", b"again", FAILED) for child in (CHILD, OTHER)], PATIENCE)
    assert await take(storage) == [], "this is known already"
    await storage.deliver([Handover(child, b"third", RESULT, FAILED) for child in (CHILD, OTHER)], PATIENCE)
    assert sorted(ids_of(await take(storage))) == [CHILD, OTHER], "one has all of them, too"
    await store(storage, linked(b"fourth", parents=3, decided_by=FAILED), linked(b"fifth", parents=3))
    await storage.deliver([Handover(child, PARENT, RESULT, FAILED) for child in (b"fourth", b"fifth")], PATIENCE)
    assert ids_of(await take(storage, token=b"w.2")) == [b"fourth"]
    await storage.deliver([Handover(b"fifth", PARENT, b"", "")], PATIENCE)
    assert await take(storage, token=b"w.3") == []
    await storage.deliver([Handover(b"fifth", OTHER, b"", "")], PATIENCE)
    assert ids_of(await take(storage, token=b"w.4")) == [b"fifth"], "its parent is gone"


async def test_many_parents_are_read_in_steps(storage: RedisStorage) -> None:
    parents = tuple(b"%d" % number for number in range(120))
    await store(storage, linked(CHILD, parents=120), linked(OTHER, parents=1))
    await storage.deliver([Handover(CHILD, parent, b"r" + parent) for parent in parents], PATIENCE)
    questions = [Question(CHILD, parents), Question(OTHER, parents[:1]), Question(CHILD, parents[60:61])]
    everything = {parent: b"r" + parent for parent in parents}
    assert await storage.handed(questions) == [(121, everything), (1, {}), (121, {b"60": b"r60"})]


async def test_a_hand_over_that_is_repeated_counts_once(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=2))
    for _ in range(3):
        await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    assert await take(storage) == []
    for _ in range(3):
        await storage.deliver([Handover(CHILD, OTHER, RESULT)], PATIENCE)
    assert ids_of(await take(storage)) == [CHILD]
    assert await take(storage, token=b"w.2") == []


async def test_what_is_handed_over_is_kept_for_its_time_and_not_for_ever(storage: RedisStorage, link: Link) -> None:
    handed = storage.keys.handed(CHILD)
    await store(storage, linked(CHILD, parents=3))
    for _ in range(2):
        assert 0 < await link.command("PTTL", handed) <= LONG  # type: ignore[operator]
        await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    await link.command("DEL", handed)
    await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    assert await link.command("PTTL", handed) > 0  # type: ignore[operator]


async def test_a_task_of_a_workflow_without_parents_comes_at_its_time(storage: RedisStorage) -> None:
    later = 4 * 10**12
    await store(storage, linked(PARENT)._replace(at_ms=later), linked(CHILD)._replace(at_ms=-LONG))
    assert (await tick(storage)).promoted == 0
    assert (await storage.look_up(PARENT)).due_ms == later
    assert await standing(storage, CHILD) is Standing.SCHEDULED


async def test_storing_a_task_again_changes_nothing(storage: RedisStorage) -> None:
    tasks = linked(CHILD, parents=1), linked(PARENT, children=b"0:" + CHILD)
    assert await store(storage, *tasks) == await store(storage, *tasks) == [True, True]
    assert await store(storage, linked(CHILD)._replace(sealed=b"another")) == [False]
    assert ids_of(await take(storage)) == [PARENT]


@pytest.mark.parametrize("bury", [False, True])
async def test_the_end_of_a_parent_lies_in_the_outbox_until_it_is_taken_out(storage: RedisStorage, bury: bool) -> None:
    told: list[bool] = []
    storage.on_outgoing(lambda: told.append(True))
    await finish(storage, bury=bury)
    left = Outgoing(PARENT, PARENT, b"0:" + CHILD, RESULT)
    assert told == [True]
    assert (await tick(storage)).outgoing == 1
    assert await storage.outgoing() == [left]
    await storage.sent([PARENT])
    assert await storage.outgoing() == []


async def test_an_end_without_dependents_leaves_nothing(storage: RedisStorage) -> None:
    await put_and_take(storage, PARENT)
    await storage.complete([end(PARENT)])
    assert (await tick(storage)).outgoing == 0


async def test_a_result_that_is_not_kept_is_handed_over_all_the_same(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=1), linked(PARENT, children=b"0:" + CHILD))
    await take(storage)
    await storage.complete([End(PARENT, TOKEN, MARK, RESULT)])
    assert [left.untrusted for left in await storage.outgoing()] == [RESULT]


async def test_the_end_of_an_aborted_task_is_left_too(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=1), linked(PARENT, children=b"0:" + CHILD))
    assert await storage.abort(PARENT, sealed=b"aborted", ttl_ms=LONG, mark=b"mark") == "aborted"
    assert [left.untrusted for left in await storage.outgoing()] == [b"aborted"]


async def test_two_ends_of_one_id_lie_beside_each_other(storage: RedisStorage) -> None:
    for token, result in ((b"w.1", b"first"), (b"w.2", b"second")):
        await store(storage, linked(PARENT, children=b"0:" + CHILD)._replace(sealed=b"sealed " + result))
        await take(storage, token=token)
        await storage.complete([End(PARENT, token, MARK, result)])
        await storage._link.command("DEL", storage.keys.result(PARENT))  # its mark has had its time
    found = await storage.outgoing()
    assert {(left.untrusted_id, left.untrusted) for left in found} == {(PARENT, b"first"), (PARENT, b"second")}
    await storage.sent([left.place for left in found])
    assert (await tick(storage)).outgoing == 0


async def test_who_follows_a_task_is_told_of_its_end(storage: RedisStorage) -> None:
    await put_and_take(storage, PARENT)
    for children in (b"0:a\n1:b", b"1:b", b"2:c"):
        assert await storage.follow([(PARENT, children)], tell=True, deadline=PATIENCE) == [Followed.WAITS]
    await storage.complete([end(PARENT)])
    assert [left.untrusted_children for left in await storage.outgoing()] == [b"0:a\n1:b\n2:c"]


async def test_who_follows_a_task_that_has_ended_finds_its_end(storage: RedisStorage) -> None:
    await put_and_take(storage, b"done", b"dead")
    await storage.complete([end(b"done")])
    await storage.bury([End(b"dead", TOKEN, MARK, b"failure")])
    parents = [(b"done", b"0:x"), (b"dead", b"0:x"), (b"never", b"0:x")]
    expected = [Followed.ENDED, Followed.ENDED, Followed.GONE]
    assert await storage.follow(parents, tell=False, deadline=PATIENCE) == expected
    assert {left.untrusted for left in await storage.outgoing()} == {RESULT, b"failure"}
    assert await storage.follow(parents, tell=True, deadline=PATIENCE) == [*expected[:2], Followed.GONE]
    assert {left.untrusted for left in await storage.outgoing()} == {RESULT, b"failure", b""}


async def test_who_follows_a_task_whose_end_is_on_its_way_is_not_told_that_it_is_gone(storage: RedisStorage) -> None:
    await store(storage, linked(PARENT, children=b"0:" + CHILD))
    await take(storage)
    await storage.complete([End(PARENT, TOKEN, MARK, RESULT)])
    assert await storage.follow([(PARENT, b"0:" + OTHER)], tell=True, deadline=PATIENCE) == [Followed.ENDED]
    found = await storage.outgoing()
    assert {(left.untrusted_children, left.untrusted) for left in found} == {(b"0:child", RESULT), (b"0:other", RESULT)}
    await storage.sent([left.place for left in found])
    assert await storage.follow([(PARENT, b"0:" + CHILD)], tell=True, deadline=PATIENCE) == [Followed.GONE]


async def test_a_task_has_no_more_dependents_than_a_value_can_hold(storage: RedisStorage) -> None:
    await put(storage, PARENT)
    many = b"\n".join(b"0:%0128d" % number for number in range(8_100))
    assert await storage.follow([(PARENT, many)], tell=True, deadline=PATIENCE) == [Followed.FULL]
    assert await storage.follow([(PARENT, b"0:x")], tell=True, deadline=PATIENCE) == [Followed.WAITS]


async def test_what_is_handed_over_to_a_task_that_is_gone_is_dropped(storage: RedisStorage, link: Link) -> None:
    await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    assert await link.command("EXISTS", storage.keys.handed(CHILD)) == 0


async def test_a_task_is_looked_at_when_nobody_tells_it_anything(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=1), look_ms=0)
    await tick_until(storage, lambda found: found.promoted)
    [claim] = await take(storage)
    assert (claim.untrusted_id, claim.tries) == (CHILD, 1)
    for _ in range(2):  # the second as after a lost reply
        assert await storage.sleep(CHILD, TOKEN, "low", look_ms=LONG, seen=1, drop=[])
    assert await standing(storage, CHILD) is Standing.SCHEDULED
    assert (await storage.counts()).running == 0
    assert not await storage.sleep(CHILD, b"stale", "low", look_ms=LONG, seen=1, drop=[])
    await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    assert [claim.tries for claim in await take(storage, token=b"w.2")] == [1]  # looking was no try


async def test_what_arrives_while_a_task_is_looked_at_makes_it_ready(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=1), look_ms=0)
    await tick_until(storage, lambda found: found.promoted)
    await take(storage)
    await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    await take_marker(storage)
    assert await storage.sleep(CHILD, TOKEN, "low", look_ms=LONG, seen=1, drop=[])
    assert await take_marker(storage) is True
    assert ids_of(await take(storage, token=b"w.2")) == [CHILD]


async def test_junk_is_dropped_and_does_not_stand_for_a_parent(storage: RedisStorage) -> None:
    await store(storage, linked(CHILD, parents=1))
    await storage.deliver([Handover(CHILD, OTHER, b"junk")], PATIENCE)
    await take(storage)
    assert await storage.sleep(CHILD, TOKEN, "low", look_ms=LONG, seen=2, drop=[OTHER])
    assert await storage.handed([Question(CHILD, (OTHER,))]) == [(1, {})]
    assert await take(storage, token=b"w.2") == []
    await storage.deliver([Handover(CHILD, PARENT, RESULT)], PATIENCE)
    assert ids_of(await take(storage, token=b"w.3")) == [CHILD]


async def test_which_enqueue_of_an_id_is_stored_is_told_by_the_task_or_its_result(storage: RedisStorage) -> None:
    assert await storage.whose(PARENT) == (None, None)
    await put_and_take(storage, PARENT, OTHER)
    assert (await storage.whose(PARENT))[1] is None
    await storage.complete([end(PARENT), End(OTHER, TOKEN, MARK, RESULT)])
    assert await storage.whose(PARENT) == (None, RESULT)
    assert await storage.whose(OTHER) == (None, MARK)


async def test_nothing_stays_of_a_workflow_that_has_ended(storage: RedisStorage, link: Link) -> None:
    await finish(storage)
    found = await storage.outgoing()
    await storage.deliver([Handover(CHILD, left.untrusted_id, left.untrusted) for left in found], PATIENCE)
    await storage.sent([left.place for left in found])
    await take(storage, token=b"w.2")
    assert await storage.forget_handed([CHILD]) == [False]
    await storage.complete([End(CHILD, b"w.2", LONG, RESULT)])
    assert await storage.forget_handed([CHILD]) == [True]
    assert await link.command("EXISTS", storage.keys.handed(CHILD)) == 0
    await tick(storage)
    assert await lasting_keys(link) == []


async def test_the_description_of_a_workflow_is_kept_for_its_time(storage: RedisStorage, link: Link) -> None:
    assert await storage.workflow(CHILD) is None
    await storage.keep_workflows([Description(CHILD, b"sealed", LONG)], PATIENCE)
    assert await storage.workflow(CHILD) == b"sealed"
    left = await link.command("PTTL", storage.keys.workflow(CHILD))
    assert isinstance(left, int) and LONG - 60_000 < left <= LONG
