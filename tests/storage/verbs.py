"""Short forms of the verbs, for tests that are about another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from secure_queue.keyed import Kept, Keyed
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.storage import Claim, End, GiveBack, NewTask, Refused, Standing, Tick
from tests.servers import PATIENCE, eventually

LONG = 600_000
TOKEN, OTHER = b"w.1", b"other.1"
SEALED, RESULT, MARK = b"sealed task", b"sealed result", b"sealed mark"
LINE, FAIR = b"o" + b"1" * 32, b"f" + b"2" * 32
PLAIN: dict[str, Any] = {
    **{"at_ms": 0, "priority": "low", "unique": b"", "scope": "", "window_ms": 0},
    **{"replaces": False, "patience_ms": 0, "line": b""},
}


async def put(storage: RedisStorage, *ids: bytes, at_ms: int = 0, priority: str = "low") -> None:
    """Enqueue tasks, all of them new."""
    assert all(await created(storage, [NewTask(task_id, SEALED, at_ms, priority) for task_id in ids]))


async def created(storage: RedisStorage, tasks: Sequence[NewTask]) -> list[bool]:
    """Enqueue *tasks*; say which of them are new."""
    return [stored.new for stored in await storage.enqueue(tasks, PATIENCE)]


def keyed(task_id: bytes, **options: Any) -> Keyed:
    """A task with a key."""
    return Keyed(task_id, b"sealed " + task_id, **(PLAIN | options))


async def keep(storage: RedisStorage, *ids: bytes, **options: Any) -> list[Kept]:
    """Enqueue tasks with a key."""
    return await storage.enqueue_keyed([keyed(task_id, **options) for task_id in ids], PATIENCE)


async def take(
    storage: RedisStorage, count: int = 10, *, token: bytes = TOKEN, lease_ms: int = LONG, worker: str = "w"
) -> list[Claim]:
    """Claim up to *count* tasks."""
    return (await storage.claim(worker, token, count, lease_ms))[1]


async def claimed(storage: RedisStorage, token: bytes, count: int = 10, lease_ms: int = LONG) -> list[bytes]:
    """Claim up to *count* tasks; their ids."""
    return ids_of(await take(storage, count, token=token, lease_ms=lease_ms))


async def put_and_take(
    storage: RedisStorage, *ids: bytes, token: bytes = TOKEN, lease_ms: int = LONG, priority: str = "low"
) -> None:
    """Have tasks running under *token*, which is to be a new one for each call."""
    await put(storage, *ids, priority=priority)
    assert ids_of(await take(storage, len(ids), token=token, lease_ms=lease_ms)) == list(ids)


async def dead(storage: RedisStorage, *ids: bytes, token: bytes = TOKEN, keep: int | bytes = LONG) -> None:
    """Have dead letters."""
    await put_and_take(storage, *ids, token=token)
    assert all(await storage.bury([End(task_id, token, keep, RESULT) for task_id in ids]))


async def refused(storage: RedisStorage, task_id: bytes, token: bytes, reason: str, sha256: str = "") -> bool | None:
    """Move one payload to the quarantine."""
    return (await storage.quarantine([Refused(task_id, token, reason, sha256)]))[0]


async def tick(storage: RedisStorage, *, keep_dead_ms: int = LONG, keep_dead: int = 100) -> Tick:
    """One round of upkeep."""
    return await storage.tick("w", gone_after_ms=LONG, keep_dead_ms=keep_dead_ms, keep_dead=keep_dead)


async def look_after(storage: RedisStorage, link: Link) -> None:
    """One round of upkeep that looks after keys, which is done once a second."""
    await link.command("HDEL", storage.keys.meta, "looked")
    await tick(storage)


async def tick_until(storage: RedisStorage, condition: Callable[[Tick], object]) -> Tick:
    """Do upkeep until a round satisfies *condition*."""
    rounds: list[Tick] = []

    async def one_more() -> object:
        rounds.append(await tick(storage))
        return condition(rounds[-1])

    await eventually(one_more)
    return rounds[-1]


async def standing(storage: RedisStorage, task_id: bytes) -> Standing:
    """Where a task stands."""
    return (await storage.look_up(task_id)).standing


def ids_of(claims: list[Claim]) -> list[bytes]:
    return [claim.untrusted_id for claim in claims]


def back(task_id: bytes, token: bytes = TOKEN, at_ms: int = 0) -> GiveBack:
    return GiveBack(task_id, token, at_ms)


def end(task_id: bytes, token: bytes = TOKEN, keep: int | bytes = LONG, sealed: bytes = RESULT) -> End:
    return End(task_id, token, keep, sealed)


async def everything(storage: RedisStorage) -> object:
    """Where every id stands, for comparing before and after."""
    rows = []
    for state in Standing:
        for name in ("high", "low"):
            ids = await storage.list_ids(state, priority=name, offset=0, limit=1000)
            rows.append((state, name, [(task_id, await storage.look_up(task_id)) for task_id in ids]))
    return rows, await storage.counts()


async def take_marker(storage: RedisStorage) -> bool:
    """Whether there was a marker that wakes a worker; it is taken."""
    return await storage._link.command("ZPOPMIN", storage.keys.wake) != []
