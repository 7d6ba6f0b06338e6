"""A key of the wrong type is moved aside, kept as evidence, and the verb then works as if it had never been there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from secure_queue.evidence import Renewed
from secure_queue.handover import Handover, Linked, Question
from secure_queue.keyed import Keyed
from secure_queue.limiting import Ask, Booking, Holder, Parked, Rank, Taking
from secure_queue.pausing import Shelving
from secure_queue.redis.link import Argument, Link, Reply
from secure_queue.redis.scripts import Script
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import NewTask, Refused, Standing
from tests.servers import PATIENCE
from tests.storage.verbs import LONG, TOKEN, back, dead, end, ids_of, put, put_and_take, take, tick

pytestmark = pytest.mark.anyio

LIMIT, RANK = b"l" * 32, Rank(0, 1)
A, B = b"a1", b"b2"  # in different buckets
Step = Callable[[RedisStorage], Awaitable[Any]]


async def nothing(storage: RedisStorage) -> None: ...
async def registered(storage: RedisStorage) -> None:
    await storage.register(4, None)


async def queued(storage: RedisStorage) -> None:
    await put(storage, A, B)


async def running(storage: RedisStorage) -> None:
    await put_and_take(storage, A, B)


async def in_line(storage: RedisStorage) -> None:
    """A task that has a permit, and one that waits for it."""
    await storage.admit(LONG, [Ask(LIMIT, b"0 a", TOKEN, 1, RANK), Ask(LIMIT, b"0 b", TOKEN, 1, RANK)])


async def parked(storage: RedisStorage) -> None:
    await running(storage)
    await storage.park("low", [Parked(A, TOKEN, LONG, "note"), Parked(B, TOKEN, LONG, "note")])


async def paused(storage: RedisStorage) -> None:
    await running(storage)
    await storage.pause({"t:x": 0})


async def shelved(storage: RedisStorage) -> None:
    await paused(storage)
    await storage.shelve("low", [Shelving(A, TOKEN, "t:x"), Shelving(B, TOKEN, "t:x")])


def keyed(task_id: bytes) -> Keyed:
    """One of its unique key, in a line with the other."""
    return Keyed(task_id, b"sealed", 0, "low", task_id * 16, "queued", 0, False, 0, b"o" + b"1" * 32)


async def lined(storage: RedisStorage) -> None:
    """One that runs, and one behind it."""
    await storage.enqueue_keyed([keyed(A), keyed(B)], PATIENCE)
    await take(storage)


async def buried(storage: RedisStorage) -> None:
    await dead(storage, A, B)


async def waiting(storage: RedisStorage) -> None:
    """A task that waits for another, which has ended."""
    waits = Linked(B, b"sealed", 0, "low", 1, b"", LONG)
    await storage.enqueue_linked([waits, Linked(A, b"sealed", 0, "low", 0, b"0:" + B, LONG)], LONG, PATIENCE)
    await take(storage, 1)
    assert await storage.complete([end(A)]) == [True]


async def woken(storage: RedisStorage) -> None:
    """A task that was claimed and still waits."""
    await storage.enqueue_linked([Linked(A, b"sealed", 0, "low", 1, b"", LONG)], 0, PATIENCE)
    await tick(storage)
    assert ids_of(await take(storage)) == [A]


async def due_and_expired(storage: RedisStorage) -> None:
    await put_and_take(storage, A, lease_ms=1)
    await put(storage, B, at_ms=1)


async def tick_twice(storage: RedisStorage) -> bool:
    while (await storage.look_up(A)).standing is Standing.RUNNING:
        await tick(storage)
    return True


VERBS: dict[str, tuple[Step, Step]] = {
    "enqueue": (
        nothing,
        lambda s: s.enqueue([NewTask(A, b"sealed", 0, "low"), NewTask(B, b"sealed", -LONG, "low")], PATIENCE),
    ),
    "claim": (queued, lambda s: s.claim("w", TOKEN, 10, LONG)),
    "complete": (running, lambda s: s.complete([end(A), end(B)])),
    "complete in a line": (lined, lambda s: s.complete([end(A), end(B)])),
    "abort in a line": (lined, lambda s: s.abort(B, sealed=b"aborted", ttl_ms=LONG, mark=b"mark")),
    "quarantine in a line": (lined, lambda s: s.quarantine([Refused(A, TOKEN, "bad-signature")])),
    "enqueue_keyed": (nothing, lambda s: s.enqueue_keyed([keyed(A), keyed(B)], PATIENCE)),
    "enter": (running, lambda s: s.enter(A, TOKEN, b"0" * 32)),
    "enter_by_permit": (running, lambda s: s.enter_by_permit(b"0" * 32, b"1 c seat", LONG)),
    "bury": (running, lambda s: s.bury([end(A), end(B)])),
    "retry": (running, lambda s: s.retry("low", [back(A), back(B, at_ms=-LONG)])),
    "release": (running, lambda s: s.release("low", [back(A), back(B, at_ms=-LONG)])),
    "begin": (running, lambda s: s.begin([back(A), back(B)])),
    "renew": (running, lambda s: s.renew(LONG, [back(A), back(B)])),
    "tick": (due_and_expired, tick_twice),
    "abort": (queued, lambda s: s.abort(A, sealed=b"aborted", ttl_ms=LONG, mark=b"mark")),
    "abort running": (running, lambda s: s.abort(A, sealed=b"aborted", ttl_ms=LONG, mark=b"mark")),
    "quarantine": (
        running,
        lambda s: s.quarantine([Refused(A, TOKEN, "bad-signature"), Refused(B, TOKEN, "bad-signature")]),
    ),
    "watch": (running, lambda s: s.watch("client", [A, B])),
    "look_up": (running, lambda s: s.look_up(A)),
    "list_ids": (nothing, lambda s: s.list_ids(Standing.QUEUED, priority="low", offset=0, limit=9)),
    "list_ids done": (nothing, lambda s: s.list_ids(Standing.DONE, priority="low", offset=0, limit=9)),
    "counts": (running, lambda s: s.counts()),
    "revive": (buried, lambda s: s.revive(Renewed(A, b"fresh", "low", unique=b"0" * 32))),
    "enqueue_linked": (
        nothing,
        lambda s: s.enqueue_linked(
            [Linked(A, b"sealed", 0, "low", 1, b"", LONG), Linked(B, b"sealed", 0, "low", 0, b"0:" + A, LONG)],
            LONG,
            PATIENCE,
        ),
    ),
    "follow": (queued, lambda s: s.follow([(A, b"0:x"), (B, b"0:y")], tell=True, deadline=PATIENCE)),
    "outgoing": (waiting, lambda s: s.outgoing()),
    "sent": (waiting, lambda s: s.sent([A])),
    "deliver": (waiting, lambda s: s.deliver([Handover(B, A, b"result")], PATIENCE)),
    "handed": (waiting, lambda s: s.handed([Question(B, (A,))])),
    "whose": (running, lambda s: s.whose(A)),
    "sleep": (woken, lambda s: s.sleep(A, TOKEN, "low", look_ms=LONG, seen=1, drop=[b"junk"])),
    "forget_handed": (waiting, lambda s: s.forget_handed([A, B])),
    "admit": (nothing, lambda s: s.admit(LONG, [Ask(LIMIT, b"0 %c" % who, TOKEN, 1, RANK) for who in b"ab"])),
    "leave": (in_line, lambda s: s.leave([Holder(LIMIT, b"0 a " + TOKEN, 1)], Taking("w", b"w.5", 1, LONG))),
    "hold": (in_line, lambda s: s.hold(LONG, [Holder(LIMIT, b"0 a " + TOKEN, 1)])),
    "hold_again": (in_line, lambda s: s.hold_again(LONG, [Holder(LIMIT, b"0 a " + TOKEN, 1)])),
    "book": (nothing, lambda s: s.book([Booking(LIMIT, b"0 a", TOKEN, 1, 1000, RANK)])),
    "unbook": (nothing, lambda s: s.unbook([Holder(LIMIT, b"0 a " + TOKEN, 1)])),
    "withdraw": (in_line, lambda s: s.withdraw([Holder(LIMIT, b"0 b", 1)])),
    "stall": (nothing, lambda s: s.stall(LIMIT, LONG)),
    "park": (running, lambda s: s.park("low", [Parked(A, TOKEN, LONG, "note"), Parked(B, TOKEN, LONG, "")])),
    "hurry": (parked, lambda s: s.hurry([A, B])),
    "shelve": (paused, lambda s: s.shelve("low", [Shelving(A, TOKEN, "t:x"), Shelving(B, TOKEN, "t:x")])),
    "resume after shelve": (shelved, lambda s: s.resume("t:x")),
    "pause": (queued, lambda s: s.pause({"t:x": 0})),
    "resume": (queued, lambda s: s.resume("*")),
    "untrusted_pauses": (queued, lambda s: s.untrusted_pauses()),
    "forget": (buried, lambda s: s.forget(A)),
    "register": (registered, lambda s: s.register(8, None)),
    "untrusted_workers": (running, lambda s: s.untrusted_workers()),
    "shrink": (registered, lambda s: s.shrink(4, 2)),
}


class Recording:
    """A link that notes the keys of the last script."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self.keys: list[bytes] = []

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        if script.name != "repair":
            self.keys = list(dict.fromkeys(keys))
        reply: Reply = await self._link.run(script, keys, args, deadline)
        return reply

    async def run_assured(self, script: Script, keys: Sequence[bytes], *rest: Any) -> Any:
        self.keys = list(dict.fromkeys(keys))
        return await self._link.run_assured(script, keys, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


async def declared_keys(storage: RedisStorage, link: Link, prepare: Step, verb: Step) -> list[bytes]:
    """The keys of a verb; of the 64 buckets only those of the two tasks."""
    await prepare(storage)
    recording = Recording(storage._link)
    await verb(RedisStorage(recording, storage.keys, max_payload_bytes=1000))
    await link.command("FLUSHALL")
    buckets = {storage.keys.bucket(A), storage.keys.bucket(B)}
    return [key for key in recording.keys if b":tasks:" not in key or key in buckets]


async def spoil(storage: RedisStorage, link: Link, key: bytes) -> bytes:
    """Put a value of the wrong type under *key*; returns the type."""
    await link.command("DEL", key)
    if storage.keys.type_of(key) == b"string":
        await link.command("SADD", key, "misfit")
        return b"set"
    await link.command("SET", key, "misfit")
    return b"string"


async def misfits(storage: RedisStorage, link: Link) -> list[bytes]:
    found = await link.command("KEYS", storage.keys.prefix + b"misfit:*")
    assert isinstance(found, list)
    return [key for key in found if isinstance(key, bytes)]


_OF_LINES = ("lines", "wake", "ready:")  # read only for tasks that have a line
IGNORES_THE_TYPE = {
    "enqueue_linked": ("result:",),
    "follow": ("result:",),  # read only for tasks that are not there
    "enqueue": ("result:",),  # whatever is there means that the id is taken
    "claim": ("replaced", "outbox"),  # looked at only where a task has a key
    "complete": ("result:", *_OF_LINES[1:]),  # a result replaces whatever is there
    "bury": ("result:", *_OF_LINES[1:]),
    "complete in a line": ("result:",),
    "abort in a line": ("leases",),
    "enqueue_keyed": ("result:",),
    "quarantine": _OF_LINES,
    "revive": ("result:",),
    "abort": ("leases", *_OF_LINES),  # declared like in the other scripts that end a run, not read
    "abort running": ("leases", *_OF_LINES),
    "look_up": ("meta",),  # declared for one layout of all scripts, not read
    "watch": ("meta",),
}


@pytest.mark.crossed
@pytest.mark.parametrize("verb", VERBS)
async def test_every_verb_works_whichever_of_its_keys_is_a_misfit(storage: RedisStorage, link: Link, verb: str) -> None:
    prepare, act = VERBS[verb]
    for key in await declared_keys(storage, link, prepare, act):
        await prepare(storage)
        wrong = await spoil(storage, link, key)
        await act(storage)
        name = key.removeprefix(storage.keys.prefix).decode()
        aside = await misfits(storage, link)
        if not name.startswith(IGNORES_THE_TYPE.get(verb, ()) or "\n"):
            assert len(aside) == 1 and aside[0].endswith(b":" + name.encode()), name
            assert await link.command("TYPE", aside[0]) == wrong
            left = await link.command("PTTL", aside[0])
            assert isinstance(left, int) and left > 29 * 86_400_000
            assert await link.command("TYPE", key) in (storage.keys.type_of(key), b"none"), name
        await link.command("FLUSHALL")


@pytest.mark.crossed
@pytest.mark.parametrize("verb", VERBS)
async def test_no_misfit_loses_a_task(storage: RedisStorage, link: Link, verb: str) -> None:
    """A misfit under a key that held nothing of the tasks changes nothing at all of what a verb does."""
    prepare, act = VERBS[verb]
    keys = await declared_keys(storage, link, prepare, act)
    await prepare(storage)
    innocent = [key for key in keys if not await link.command("EXISTS", key)]
    if verb not in ("tick", "list_ids", "counts"):
        innocent += [storage.keys.leases, storage.keys.wake]  # they hold nothing that the verb could not restore
    expected = await act(storage), await afterwards(storage, link)
    await link.command("FLUSHALL")
    for key in dict.fromkeys([*innocent, storage.keys.meta]):
        name = key.removeprefix(storage.keys.prefix).decode()
        if verb.startswith("enqueue") and name.startswith("result:"):
            continue  # it means that the id is taken
        await prepare(storage)
        await spoil(storage, link, key)
        assert (await act(storage), await afterwards(storage, link)) == expected, name
        await link.command("FLUSHALL")


async def afterwards(storage: RedisStorage, link: Link) -> object:
    """What the queue does from now on, as far as it does not depend on the time."""
    states = [(await storage.look_up(task_id)).standing for task_id in (A, B)]
    tries = [(await storage.look_up(task_id)).tries for task_id in (A, B)]
    listed = {
        state: await storage.list_ids(state, priority="low", offset=0, limit=9)
        for state in (Standing.QUEUED, Standing.SCHEDULED, Standing.DONE, Standing.DEAD)
    }
    wakes = await link.command("EXISTS", storage.keys.wake) if (await storage.counts()).ready["low"] else 0
    results = await storage.watch("client", [A, B])
    claims = await take(storage, token=b"another.1")
    return states, tries, listed, wakes, results, claims


async def test_a_misfit_is_moved_once_and_the_rest_stays(storage: RedisStorage, link: Link) -> None:
    await put(storage, A)
    await spoil(storage, link, storage.keys.leases)
    assert await storage.repair([storage.keys.leases, storage.keys.meta, storage.keys.ready["low"]]) == [
        storage.keys.leases
    ]
    assert await storage.repair([storage.keys.leases]) == []
    assert ids_of(await take(storage)) == [A]


async def test_two_misfits_of_one_key_are_both_kept(storage: RedisStorage, link: Link) -> None:
    for _ in range(2):
        await spoil(storage, link, storage.keys.leases)
        await storage.repair([storage.keys.leases])
    assert len(await misfits(storage, link)) == 2


async def test_every_structure_of_a_queue_has_a_type(storage: RedisStorage) -> None:
    own = storage.keys
    kinds = {
        b"hash": [own.meta, own.aborts, *own.buckets],
        b"list": [*own.ready.values(), own.last_claim("w")],
        b"zset": [own.leases, own.wake, own.results, own.dead, own.workers, *own.due.values()],
        b"stream": [own.quarantine],
        b"string": [own.result(b"a:b")],
    }
    assert all(own.type_of(key) == kind for kind, keys in kinds.items() for key in keys)
