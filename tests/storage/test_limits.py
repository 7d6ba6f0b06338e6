"""Limits in the storage: permits, starts, the lines before them, and who is told that it is their turn."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from secure_queue import clock
from secure_queue.limiting import Ask, Booking, Holder, Parked, Place, Rank, Taking
from secure_queue.limits import RANK_WIDTH
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Memory
from secure_queue.storage import Standing
from tests.conftest import lasting_keys
from tests.servers import eventually
from tests.storage.conftest import KEYS
from tests.storage.verbs import LONG, TOKEN, ids_of, put, put_and_take, standing, take, take_marker, tick_until

pytestmark = pytest.mark.anyio

LIMIT, RATE = b"a" * 32, b"b" * 32
SHORT = 40


def ask(who: bytes, most: int = 1, token: bytes = b"w.1", rank: int = 0, turn: bytes = b"") -> Ask:
    return Ask(LIMIT, who, token, most, Rank(rank * RANK_WIDTH, RANK_WIDTH), turn)


def holder(who: bytes, most: int = 1, token: bytes = b"w.1") -> Holder:
    return Holder(LIMIT, who + b" " + token, most)


NOTHING = Taking("w", b"w.9", 0, LONG)


async def left(storage: RedisStorage, *holders: Holder) -> list[list[bytes]]:
    passed = await storage.leave(holders, NOTHING)
    assert passed.claims == []
    return passed.elsewhere


async def admitted(storage: RedisStorage, *asks: Ask, lease_ms: int = LONG) -> list[int | None]:
    return [place.before for place in await storage.admit(lease_ms, asks)]


async def test_so_many_are_admitted_and_the_others_stand_in_line(storage: RedisStorage, link: Link) -> None:
    asks = [ask(b"0 %c" % letter, most=2) for letter in b"abcd"]
    assert await admitted(storage, *asks) == [None, None, 0, 1]
    assert await admitted(storage, *asks) == [None, None, 0, 1]  # a lost reply
    assert await lasting_keys(link) == []


async def test_who_leaves_makes_room_for_the_first_in_line(storage: RedisStorage, link: Link) -> None:
    await admitted(storage, *(ask(b"1 %c" % letter) for letter in b"abc"))
    assert await left(storage, holder(b"1 a")) == [[b"1 b"]]
    assert await lasting_keys(link) == []
    assert await left(storage, holder(b"1 a")) == [[]]  # a lost reply
    # The permit is promised: nobody else is given it, and the one to whom it was has it under any token.
    assert await admitted(storage, ask(b"1 c"), ask(b"1 d")) == [0, 1]
    assert await admitted(storage, ask(b"1 b", token=b"w.2")) == [None]
    assert await left(storage, holder(b"1 b", token=b"w.2")) == [[b"1 c"]]


async def test_a_promise_that_is_not_taken_goes_to_the_next(storage: RedisStorage) -> None:
    await admitted(storage, *(ask(b"1 %c" % letter) for letter in b"abc"))
    assert await left(storage, holder(b"1 a")) == [[b"1 b"]]
    assert await left(storage, Holder(LIMIT, b"1 b", 1)) == [[b"1 c"]]


async def test_who_leaves_makes_room_in_the_place_of_those_whose_lease_is_over_too(
    storage: RedisStorage, link: Link
) -> None:
    await admitted(storage, *(ask(b"1 %c" % letter, most=2) for letter in b"abcde"))
    await link.command("ZADD", storage.keys.permits(LIMIT), 1, b"1 b w.1")
    assert await left(storage, holder(b"1 a", most=2)) == [[b"1 c", b"1 d"]]


async def test_a_higher_priority_stands_before_a_lower_one(storage: RedisStorage) -> None:
    assert await admitted(storage, ask(b"1 a"), ask(b"1 low", rank=2), ask(b"1 high", rank=1)) == [None, 0, 0]
    assert await left(storage, holder(b"1 a")) == [[b"1 high"]]


async def test_keys_take_turns_in_a_line_each_in_its_priority(storage: RedisStorage, link: Link) -> None:
    async def come(*names: bytes, rank: int = 1) -> None:
        await admitted(storage, *(ask(b"1 " + name, rank=rank, turn=name[:1]) for name in names))

    async def in_turn(count: int) -> list[bytes]:
        for _ in range(count):
            [[name]] = await left(storage, holder(called[-1]))
            assert await admitted(storage, ask(name)) == [None]
            called.append(name)
        return [name.removeprefix(b"1 ") for name in called[-count:]]

    called = [b"1 first"]
    assert await admitted(storage, ask(b"1 first"), ask(b"1 urgent")) == [None, 0]
    await come(b"m1", b"m2", b"m3", b"m4", b"m5", b"f1", b"f2")
    await come(b"m1", b"f2")  # a look, or a lost reply
    await come(b"z1")
    await admitted(storage, ask(b"1 plain", rank=1))
    assert await in_turn(6) == [b"urgent", b"f1", b"m1", b"z1", b"f2", b"m2"]
    await come(b"f3", b"n1", b"m6")  # new keys are in the round that is under way, the others in their next
    await come(b"m7", rank=0)
    assert await in_turn(8) == [b"m7", b"f3", b"m3", b"n1", b"m4", b"m5", b"m6", b"plain"]
    await left(storage, holder(called[-1]))
    await come(b"m8")  # nobody waits: what was before is forgotten
    turns = storage.keys.turns(LIMIT)
    assert await link.command("ZRANGE", turns, 0, -1) == [b"0 m", b"%d m" % RANK_WIDTH]
    assert await lasting_keys(link) == []


async def test_those_that_come_within_one_millisecond_stand_in_the_order_in_which_they_came(
    storage: RedisStorage,
) -> None:
    names = [b"1 %d" % number for number in (5, 1, 9, 3, 7, 2)]
    await admitted(storage, ask(b"1 first"))
    assert await admitted(storage, *(ask(name, rank=40) for name in names)) == list(range(6))
    aged = [Ask(LIMIT, name + b" aged", b"w.1", 1, Rank(300_000_000_000, 1)) for name in names]
    assert await admitted(storage, *aged) == list(range(6))  # of one moment, and before the others
    assert await storage.withdraw([Holder(LIMIT, name, 0) for name in (names[0], b"1 x")]) == [True, False]
    order = await storage._link.command("ZRANGE", storage.keys.line(LIMIT), 0, -1)
    assert order == [*(name + b" aged" for name in names), *names[1:]]


async def test_whose_turn_it_is_comes_to_the_front_at_once_if_it_lies_beside_the_limit(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b", b"c")
    await admitted(storage, *(ask(b"0 %s" % name) for name in (b"x", b"gone", b"a", b"b", b"c")))
    await storage.park("low", [Parked(task_id, TOKEN, LONG, "") for task_id in (b"a", b"b", b"c")])
    await put(storage, b"later")
    assert await left(storage, holder(b"0 x", most=2)) == [[]]
    assert ids_of(await take(storage, token=b"w.2")) == [b"a", b"b", b"later"]
    assert await admitted(storage, ask(b"0 a", 2), ask(b"0 c", 2), ask(b"0 b", 2, token=b"w.2")) == [None, 0, None]


async def test_the_permit_of_a_worker_that_vanished_comes_back_with_its_lease(storage: RedisStorage) -> None:
    assert await admitted(storage, ask(b"0 a"), lease_ms=SHORT) == [None]
    assert await admitted(storage, ask(b"0 b"), ask(b"0 c")) == [0, 1]

    async def is_called() -> bool:
        [place] = await storage.admit(LONG, [ask(b"0 c")])
        assert place.before is not None, "the one before it goes first"
        return place.called == (b"0 b",)

    await eventually(is_called)  # whoever looks has the first one called
    assert await admitted(storage, ask(b"0 b")) == [None]


async def test_a_short_lease_takes_no_permit_away_that_is_held_longer(storage: RedisStorage, link: Link) -> None:
    assert await admitted(storage, ask(b"0 a", most=2)) == [None]
    assert await admitted(storage, ask(b"0 b", most=2), lease_ms=SHORT) == [None]
    assert await link.command("PTTL", storage.keys.permits(LIMIT)) > LONG - 60_000  # type: ignore[operator]


async def test_permits_are_prolonged_and_what_was_lost_can_be_taken_again(storage: RedisStorage) -> None:
    await admitted(storage, ask(b"0 a"), lease_ms=SHORT)
    assert await storage.hold(LONG, [holder(b"0 a"), holder(b"0 x")]) == [True, False]
    assert await admitted(storage, ask(b"0 b")) == [0]
    assert await storage.hold_again(LONG, [holder(b"0 x")]) == [True]
    assert await left(storage, holder(b"0 a")) == [[]]  # 0 x has it


# Whoever leaves may have the next task at once


async def in_line(storage: RedisStorage, *ids: bytes, priority: str = "low") -> None:
    """One that has the only permit, and tasks that wait for it."""
    await put_and_take(storage, *ids, priority=priority)
    await admitted(storage, ask(b"0 x"), *(ask(b"0 " + task_id) for task_id in ids))
    await storage.park(priority, [Parked(task_id, TOKEN, LONG, "permit") for task_id in ids])


def taking(token: bytes = b"w.5", count: int = 9) -> Taking:
    return Taking("w", token, count, LONG)


async def test_whoever_leaves_has_the_next_task_and_after_a_lost_reply_once_more(storage: RedisStorage) -> None:
    await in_line(storage, b"a", b"b", b"c")
    passed = await storage.leave([holder(b"0 x", most=2)], taking())
    assert passed.elsewhere == [[]]
    assert [(claim.untrusted_id, claim.untrusted, claim.tries, claim.priority) for claim in passed.claims] == [
        (b"a", b"sealed task", 1, "low"),
        (b"b", b"sealed task", 1, "low"),
    ]
    assert {claim.token for claim in passed.claims} == {b"w.5"} and not any(
        one.may_be_answered for one in passed.claims
    )
    assert await storage.leave([holder(b"0 x", most=2)], taking()) == passed
    assert await storage.list_ids(Standing.RUNNING, priority="low", offset=0, limit=9) == [b"a", b"b"]
    assert await storage.list_ids(Standing.SCHEDULED, priority="low", offset=0, limit=9) == [b"c"]
    asks = [ask(b"0 " + task_id, 2, token=b"w.5") for task_id in (b"a", b"b", b"c")]
    assert await admitted(storage, *asks) == [None, None, 0]
    assert (await storage.leave([holder(b"0 a", 2, b"w.5")], taking(b"w.6", 0))).claims == []
    assert ids_of(await take(storage, token=b"w.7")) == [b"c"]


@pytest.mark.parametrize(
    "why",
    [
        "something higher is ready",
        "its priority is paused",
        "everything is paused",
        "another call has its place",
        "it seems to run",
        "its payload is too large",
    ],
)
async def test_what_whoever_leaves_may_not_have_is_brought_to_the_front(storage: RedisStorage, why: str) -> None:
    await in_line(storage, b"a", b"b")
    if why == "something higher is ready":
        await put(storage, b"h", priority="high")
    elif why == "its priority is paused":
        await storage.pause({"p:low": 0})
    elif why == "everything is paused":
        await storage.pause({"*": 0})
    elif why == "it seems to run":
        await storage._link.command("HSET", storage.keys.bucket(b"a"), b"!ra", b"1:low:somebody")
    elif why == "its payload is too large":
        await storage._link.command("HSET", storage.keys.bucket(b"a"), b"a", b"x" * 1001)
    else:
        await storage._link.command("HSET", storage.keys.unique, b"!xa", b"other")
    assert (await storage.leave([holder(b"0 x")], taking())).claims == []
    assert await storage._link.command("LRANGE", storage.keys.ready["low"], 0, -1) == [b"a"]


# Rates


def booking(who: bytes, most: int = 2, per_ms: int = LONG, token: bytes = b"w.1", rank: int = 0) -> Booking:
    return Booking(RATE, who, token, most, per_ms, Rank(rank * RANK_WIDTH, RANK_WIDTH))


async def test_so_many_start_and_the_others_are_told_when(storage: RedisStorage, link: Link) -> None:
    waits = await storage.book([booking(b"0 %d" % number) for number in range(6)])
    assert waits[:2] == [0, 0]
    assert waits == sorted(waits)
    for wait, rounds in zip(waits[2:], (1, 1, 2, 2), strict=True):
        assert 0 <= rounds * LONG - wait < 60_000
    again = await storage.book([booking(b"0 %d" % number) for number in range(6)])  # a lost reply
    assert again[:2] == [0, 0]
    assert all(0 <= before - now < 60_000 for before, now in zip(waits, again, strict=True))
    assert await lasting_keys(link) == []


async def test_the_place_of_one_that_will_not_come_goes_to_others(storage: RedisStorage) -> None:
    await storage.book([booking(b"0 %d" % number) for number in range(4)])
    assert await storage.withdraw([Holder(RATE, b"0 %d" % number, 0) for number in (2, 3, 9)]) == [True, True, False]
    [wait] = await storage.book([booking(b"0 new")])
    assert 0 <= LONG - wait < 60_000  # in the first window that is free, not behind those two


async def test_nothing_starts_while_a_rate_is_held_up(storage: RedisStorage) -> None:
    assert 0 < await storage.stall(RATE, LONG) <= LONG
    [wait] = await storage.book([booking(b"0 a")])
    assert LONG - 60_000 < wait <= LONG
    assert await storage.stall(RATE, 1) > LONG - 60_000  # it is not made shorter


@pytest.fixture
async def hands() -> AsyncIterator[list[int]]:
    """A clock of the server in memory that shows what the test says."""
    hands = [1_900_000_000_000]
    with clock.wall_clock(lambda: hands[0] * 1_000_000):
        yield hands


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_window_sees_more_starts_and_none_is_wasted(hands: list[int], seed: int) -> None:
    """Tasks come at random times, and late or early at their moments; a twentieth of the window is permitted to them."""
    luck = random.Random(seed)
    most, per_ms, tasks = luck.choice([1, 2, 5, 20]), luck.choice([100, 1000, 60_000]), 120
    async with open_link(Memory()) as link:
        storage = RedisStorage(link, KEYS)
        comes = {b"0 %d" % number: hands[0] + luck.randrange(per_ms) for number in range(tasks)}
        begun, starts, asked = hands[0], list[int](), 0
        while comes:
            who, hands[0] = min(comes.items(), key=lambda one: one[1])
            asked += 1
            [wait] = await storage.book([booking(who, most, per_ms)])
            if wait:
                comes[who] = hands[0] + wait + luck.choice([0, 0, 0, 1, 2, luck.randrange(per_ms)])
            else:
                starts.append(hands[0])
                del comes[who]
    edge = min(per_ms // 20, 50)
    for first, last in zip(starts, starts[most:], strict=False):
        assert last - first >= per_ms - edge
    ideal = (tasks / most) * per_ms
    assert starts[-1] - begun <= 1.7 * ideal + 3 * per_ms, "late ones leave some starts unused, and no more"
    assert asked <= 12 * tasks


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_comes_in_time_asks_once_more_and_the_rate_is_used_up(hands: list[int]) -> None:
    most, per_ms, tasks = 5, 1000, 100
    async with open_link(Memory()) as link:
        storage = RedisStorage(link, KEYS)
        waits = await storage.book([booking(b"0 %d" % number, most, per_ms) for number in range(tasks)])
        begun = hands[0]
        for number in sorted(range(tasks), key=lambda one: waits[one]):
            hands[0] = begun + waits[number] + (3 if waits[number] else 0)  # a worker takes its time to claim it
            if waits[number]:
                assert await storage.book([booking(b"0 %d" % number, most, per_ms, token=b"w.2")]) == [0]
    assert hands[0] - begun == (tasks // most - 1) * per_ms + 3


# Parking


async def test_a_parked_task_is_due_later_and_has_used_no_try(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b")
    runs = [Parked(b"a", TOKEN, LONG, "permit 0 x"), Parked(b"b", b"other.1", LONG, "")]
    assert await storage.park("low", runs) == [True, False]
    assert await storage.park("low", runs) == [True, False]  # a lost reply
    record = await storage.look_up(b"a")
    assert (record.standing, record.tries, record.untrusted_note) == (Standing.SCHEDULED, 0, b"permit 0 x")
    assert await standing(storage, b"b") is Standing.RUNNING


async def test_a_parked_task_comes_by_itself_at_its_time(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a")
    await storage.park("low", [Parked(b"a", TOKEN, 1, "")])
    await tick_until(storage, lambda found: found.promoted)
    assert ids_of(await take(storage, token=b"w.2")) == [b"a"]


async def test_those_whose_turn_it_is_come_to_the_front_in_their_order(storage: RedisStorage) -> None:
    await put_and_take(storage, b"a", b"b", b"c")
    await storage.park("low", [Parked(task_id, TOKEN, LONG, "") for task_id in (b"a", b"b", b"c")])
    await put(storage, b"later")
    await take_marker(storage)
    assert await storage.hurry([b"a", b"b", b"gone"]) == [True, True, False]
    assert await take_marker(storage) is True
    assert ids_of(await take(storage, token=b"w.2")) == [b"a", b"b", b"later"]
    assert await standing(storage, b"c") is Standing.SCHEDULED


async def test_a_turn_that_comes_while_the_task_is_being_parked_is_not_missed(
    storage: RedisStorage, link: Link
) -> None:
    await put_and_take(storage, b"a")
    assert await storage.hurry([b"a"]) == [True]
    assert await link.command("PTTL", storage.keys.called) > 0  # type: ignore[operator]
    assert await storage.park("low", [Parked(b"a", TOKEN, LONG, "")]) == [True]
    assert await take_marker(storage) is True
    assert ids_of(await take(storage, token=b"w.2")) == [b"a"]
    assert await storage.park("low", [Parked(b"a", b"w.2", LONG, "")]) == [True]  # its turn counts once
    assert await standing(storage, b"a") is Standing.SCHEDULED


async def test_no_answer_names_nobody(storage: RedisStorage) -> None:
    assert await storage.admit(LONG, [ask(b"0 a")]) == [Place(None)]
