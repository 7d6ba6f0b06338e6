"""The storage contract on Redis: each verb packs its arguments, runs one script and reads its reply.

A key that holds another type than its structure (a fault, or somebody who writes to Redis) makes a script fail before it
has lost anything; the verb then moves the misfit aside and runs again, so that nothing stored can stall a queue.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar, cast

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.evidence import Renewed
from secure_queue.names import printable
from secure_queue.redis.evidence import RedisEvidence
from secure_queue.redis.handover import RedisHandover
from secure_queue.redis.keyed import RedisKeyed
from secure_queue.redis.keys import SOON, QueueKeys
from secure_queue.redis.limiting import RedisLimiting
from secure_queue.redis.link import Argument, Link, Reply, WrongType, flags
from secure_queue.redis.pausing import RedisPausing
from secure_queue.redis.replay import Replay
from secure_queue.redis.reporting import RedisReporting
from secure_queue.redis.scanning import RedisScan
from secure_queue.redis.scripts import load
from secure_queue.redis.timetable import READ_DEADLINE_S, RedisTimetable, nonce, word
from secure_queue.storage import (
    UNKNOWN,
    Claim,
    Counts,
    End,
    GiveBack,
    NewTask,
    Record,
    Refused,
    Standing,
    Stored,
    Tick,
)

Sealed = TypeVar("Sealed", NewTask, End)

_audit_log = logging.getLogger("secure_queue.audit")

CLAIM_DEADLINE_S = 30.0
BATCH, BATCH_BYTES = 500, 4 << 20
ASIDE_MS = 30 * 86_400_000
QUARANTINE_ENTRIES = 10_000
QUARANTINE_BYTES = 256 << 20
_MOVED = {ord("1"): True, ord("0"): False}


class RedisStorage(RedisTimetable, RedisReporting, RedisHandover, RedisLimiting, RedisPausing, RedisKeyed):
    """One partition of a queue behind a link."""

    def __init__(
        self,
        link: Link,
        keys: QueueKeys,
        *,
        max_payload_bytes: int = 1 << 20,
        settle_s: float = 60.0,
        deadline_s: float = READ_DEADLINE_S,
        counters: Counter[str] | None = None,
        ageing_ms: int = 0,
    ) -> None:
        self._link = link
        self.keys = keys
        self._max_payload_bytes = max_payload_bytes
        self._settle_s = settle_s
        self._deadline_s, self._ageing_ms = deadline_s, ageing_ms
        self._counters = Counter() if counters is None else counters
        self._on_outgoing: list[Callable[[], None]] = []
        self.replay = Replay(self._enqueue_again, lambda: link.command("PING"), self._counters)
        """What this storage has acknowledged lately; somebody must run it."""
        link.on_new_history(self.replay.begin_again)

    @property
    def in_trouble(self) -> bool:
        return self._link.in_trouble

    def scannable(self) -> RedisScan:
        return RedisScan(self._link, self.keys, self._max_payload_bytes)

    def evidence(self) -> RedisEvidence:
        return RedisEvidence(self._link, self._run, self.keys, self._max_payload_bytes)

    async def enqueue(
        self, tasks: Sequence[NewTask], deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> list[Stored]:
        stored: list[Stored] = []
        for batch in _in_batches(tasks):
            stored += await self._enqueue_batch(batch, deadline, assurance)
        return stored

    async def _enqueue_batch(self, tasks: Sequence[NewTask], deadline: float, assurance: Assurance) -> list[Stored]:
        names = {task.priority for task in tasks}
        if len(names) == 1:
            return await self._enqueue_alike(tasks, names.pop(), deadline, assurance)
        stored: dict[int, Stored] = {}
        for name in names:
            places = [place for place, task in enumerate(tasks) if task.priority == name]
            replies = await self._enqueue_alike([tasks[place] for place in places], name, deadline, assurance)
            stored.update(zip(places, replies, strict=True))
        return [stored[place] for place in range(len(tasks))]

    async def _enqueue_alike(
        self, tasks: Sequence[NewTask], priority: str, deadline: float, assurance: Assurance
    ) -> list[Stored]:
        own = self.keys
        keys = [own.meta, own.wake, own.ready[priority], own.due[priority], own.finished]
        args: list[Argument] = []
        for task_id, sealed, at_ms, _ in tasks:
            keys += (self.keys.bucket(task_id), self.keys.result(task_id))
            args += (task_id, sealed, at_ms)
        reply, level = await self._run_assured("enqueue", keys, args, deadline, assurance)
        self.replay.keep("enqueue", keys, args)
        if level is not assurance.level:
            self._counters["degraded"] += len(tasks)
        new, known = Stored(True, level), Stored(False, level)
        return [new if flag else known for flag in flags(reply)]

    async def _enqueue_again(self, script: str, keys: Sequence[bytes], args: Sequence[Argument]) -> None:
        await self._run(script, keys, args, self._deadline_s)

    async def claim(self, worker: str, token: bytes, count: int, lease_ms: int) -> tuple[bool, list[Claim]]:
        keys, args = self._claim_call(worker, token, count, lease_ms)
        return self._claimed(token, await self._run("claim", keys, args, CLAIM_DEADLINE_S))

    async def claim_when_woken(
        self, worker: str, token: bytes, count: int, lease_ms: int, timeout: float
    ) -> tuple[bool, list[Claim], bool] | None:
        keys, args = self._claim_call(worker, token, count, lease_ms)
        woken = await self._link.run_when_woken(self.keys.wake, timeout, load("claim"), keys, args)
        return None if woken is None else (*self._claimed(token, woken.reply), woken.marker == SOON)

    def _claim_call(self, worker: str, token: bytes, count: int, lease_ms: int) -> tuple[list[bytes], list[Argument]]:
        own = self.keys
        last = own.lines, own.unique, own.replaced, own.results, own.paused, own.outbox
        keys = [own.meta, own.leases, own.wake, own.last_claim(worker), *own.buckets, *own.ready.values(), *last]
        return keys, [count, lease_ms, token, self._max_payload_bytes, self._ageing_ms, *own.priorities]

    def _claimed(self, token: bytes, reply: Reply) -> tuple[bool, list[Claim]]:
        fields = iter(cast("list[Any]", reply))
        more = bool(next(fields))
        names = {name.encode(): name for name in self.keys.priorities}
        lowest = self.keys.priorities[-1]
        return more, [
            Claim(task_id, sealed, tries, names.get(priority, lowest), token, bool(hints & 1), bool(hints & 2))
            for task_id, sealed, tries, priority, hints in zip(*[fields] * 5, strict=True)
        ]

    async def complete(self, ends: Sequence[End]) -> list[bool]:
        return await self._end("complete", (self.keys.aborts, self.keys.finished), ends)

    async def bury(self, ends: Sequence[End]) -> list[bool]:
        return await self._end("bury", (self.keys.aborts, self.keys.dead), ends)

    async def _end(self, script: str, indexes: tuple[bytes, ...], ends: Sequence[End]) -> list[bool]:
        ended: list[bool] = []
        for batch in _in_batches(ends):
            ended += await self._end_batch(script, indexes, batch)
        return ended

    async def _end_batch(self, script: str, indexes: tuple[bytes, ...], ends: Sequence[End]) -> list[bool]:
        own = self.keys
        keys = [own.meta, own.leases, own.results, *indexes, own.outbox, own.lines, own.wake]
        args: list[Argument] = []
        for end in ends:
            keys += (own.bucket(end.task_id), own.result(end.task_id))
            args += end
        keys += own.ready.values()
        reply = cast("bytes", await self._run(script, keys, args, self._settle_s))
        if _LEFT in reply:
            self._tell_of_outgoing()
        return [character != _LOST for character in reply]

    async def retry(self, priority: str, runs: Sequence[GiveBack]) -> list[bool]:
        return await self._give_back(priority, runs, used=1)

    async def release(self, priority: str, runs: Sequence[GiveBack]) -> list[bool]:
        return await self._give_back(priority, runs, used=0)

    async def _give_back(self, priority: str, runs: Sequence[GiveBack], *, used: int) -> list[bool]:
        own = self.keys
        keys = [own.meta, own.leases, own.wake, own.ready[priority], own.due[priority], *self._buckets(runs)]
        args: list[Argument] = [used, *(part for run in runs for part in run)]
        return flags(await self._run("give_back", keys, args, self._settle_s))

    async def begin(self, runs: Sequence[GiveBack]) -> list[bool]:
        args: list[Argument] = [part for run in runs for part in run[:2]]
        return flags(await self._run("begin", [self.keys.meta, *self._buckets(runs)], args, self._settle_s))

    async def renew(self, lease_ms: int, held: Sequence[GiveBack]) -> list[bool]:
        args: list[Argument] = [lease_ms, *(part for run in held for part in run[:2])]
        keys = [self.keys.meta, self.keys.leases, *self._buckets(held)]
        return flags(await self._run("renew", keys, args, lease_ms / 3000))

    def _buckets(self, runs: Sequence[GiveBack]) -> list[bytes]:
        return [self.keys.bucket(run.task_id) for run in runs]

    async def tick(self, worker: str, *, gone_after_ms: int, keep_dead_ms: int, keep_dead: int) -> Tick:
        own = self.keys
        keys = [own.meta, own.leases, own.wake, own.results, own.dead, own.aborts, own.workers, *own.buckets, *own.both]
        keys += (own.lines, own.unique, own.replaced, own.finished, own.outbox, own.paused, *own.shelf.values())
        generation = os.urandom(16).hex()  # for a dataset that has none
        args: list[Argument] = [worker, gone_after_ms, keep_dead_ms, keep_dead, generation, *own.priorities]
        reply = cast("list[Any]", await self._run("tick", keys, args, self._deadline_s))
        next_due, promoted, taken_back, generation, outgoing, replaced = reply[:6]
        aborts = dict(zip(reply[6::2], reply[7::2], strict=True))
        left = dict(zip(replaced[::2], replaced[1::2], strict=True))
        return Tick(next_due if next_due >= 0 else None, promoted, taken_back, generation, aborts, outgoing, left)

    async def abort(self, task_id: bytes, *, sealed: bytes, ttl_ms: int, mark: bytes) -> str:
        own = self.keys
        places = [own.bucket(task_id), own.result(task_id), own.outbox, own.lines, own.wake, *own.places]
        keys = [own.meta, own.leases, own.results, own.aborts, own.dead, *places]
        return word(await self._run("abort", keys, [task_id, sealed, ttl_ms, mark], self._deadline_s))

    async def quarantine(self, cases: Sequence[Refused]) -> list[bool | None]:
        own = self.keys
        stored = [key for case in cases for key in (own.bucket(case.task_id), own.result(case.task_id))]
        places = [own.lines, own.wake, *stored, *own.ready.values()]
        keys = [own.meta, own.leases, own.quarantine, own.aborts, *places]
        limits = (self._max_payload_bytes, QUARANTINE_ENTRIES, QUARANTINE_BYTES, ASIDE_MS)
        args: list[Argument] = [*limits, *(part for case in cases for part in case[:4])]
        answers = cast("bytes", await self._run("quarantine", keys, args, self._settle_s))
        if b"2" in answers:
            await self._move_aside([own.quarantine], [b"nothing that could stay"])
            again = cast("bytes", await self._run("quarantine", keys, args, self._settle_s))
            answers = bytes(map(max, answers.replace(b"2", b"0"), again))
        return [_MOVED.get(answer) for answer in answers]

    async def watch(self, client: str, task_ids: Sequence[bytes]) -> list[bytes | object | None]:
        keys = [self.keys.meta]
        for task_id in task_ids:
            keys += (self.keys.bucket(task_id), self.keys.result(task_id))
        args: list[Argument] = [client, self._max_payload_bytes, *task_ids]
        reply = cast("list[bytes | int]", await self._run("watch", keys, args, self._deadline_s))
        return [_kept(found) if isinstance(found, bytes) else None if found == 0 else UNKNOWN for found in reply]

    @asynccontextmanager
    async def listen(self, client: str) -> AsyncIterator[AsyncIterator[tuple[bytes, bytes]]]:
        async with self._link.listen(self.keys.done_channel(client)) as messages, aclosing(_split(messages)) as pairs:
            yield pairs

    async def look_up(self, task_id: bytes) -> Record:
        own = self.keys
        keys = [own.meta, own.dead, own.bucket(task_id), own.result(task_id), *own.due.values()]
        reply = await self._run("look_up", keys, [task_id, self._max_payload_bytes], self._deadline_s)
        standing, task, tries, due, result, death, note = cast("list[Any]", reply)
        return Record(Standing(standing.decode()), task, tries, due, _kept(result), death, note)

    async def list_ids(self, standing: Standing, *, priority: str, offset: int, limit: int) -> list[bytes]:
        keys = {
            Standing.QUEUED: [self.keys.ready[priority], self.keys.shelf[priority], self.keys.lines],
            Standing.SCHEDULED: [self.keys.due[priority]],
            Standing.RUNNING: [self.keys.leases],
            Standing.DONE: [self.keys.results],
            Standing.DEAD: [self.keys.dead],
        }.get(standing)
        if keys is None or limit <= 0:
            return []
        return cast("list[bytes]", await self._run("list_ids", keys, [offset, limit, priority], self._deadline_s))

    async def counts(self) -> Counts:
        own = self.keys
        keys = [own.leases, own.results, own.dead, own.quarantine, own.workers, own.lines, *own.places]
        reply = cast("list[int]", await self._run("counts", keys, own.priorities, self._deadline_s))
        ready, due, shelved, in_lines = (
            dict(zip(own.priorities, reply[place::4], strict=True)) for place in range(5, 9)
        )
        running, results, dead, quarantined, workers = reply[:5]
        return Counts(ready, due, running, results, dead, quarantined, workers, shelved, in_lines)

    async def revive(self, task: Renewed) -> bool | bytes:
        own, (task_id, sealed, priority, unique, scope, line) = self.keys, task
        places = [own.results, own.result(task_id), own.handed(task_id), own.lines, own.unique, *own.buckets]
        keys = [own.meta, own.dead, own.wake, own.ready[priority], *places]
        reply = await self._run("revive", keys, [task_id, sealed, unique, scope, line], self._deadline_s)
        return reply[1:] if isinstance(reply, bytes) and reply[:1] == b"=" else word(reply) == "revived"

    async def forget(self, task_id: bytes) -> bool:
        keys = [self.keys.meta, self.keys.dead, self.keys.bucket(task_id)]
        return word(await self._run("forget", keys, [task_id], self._deadline_s)) == "deleted"

    async def _run(self, script: str, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        try:
            return await self._link.run(load(script), keys, args, deadline)
        except WrongType:
            await self.repair(keys)
            return await self._link.run(load(script), keys, args, deadline)

    async def _run_assured(
        self, script: str, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        try:
            return await self._link.run_assured(load(script), keys, args, deadline, assurance)
        except WrongType:
            await self.repair(keys)
            return await self._link.run_assured(load(script), keys, args, deadline, assurance)

    async def repair(self, keys: Sequence[bytes]) -> list[bytes]:
        """Move aside those of *keys* that hold a wrong type; they are kept for 30 days. Returns what was moved."""
        unique = list(dict.fromkeys(keys))
        return await self._move_aside(unique, [self.keys.type_of(key) for key in unique])

    async def _move_aside(self, keys: Sequence[bytes], types: Sequence[bytes]) -> list[bytes]:
        mark = nonce()
        pairs = [name for key in keys for name in (key, self.keys.misfit(key, mark))]
        args: list[Argument] = [ASIDE_MS, *types]
        moved = cast("list[bytes]", await self._link.run(load("repair"), pairs, args, self._deadline_s))
        for key in moved:
            _audit_log.error("a key that cannot be used was moved aside: %s", printable(key))
        return moved


def _in_batches(items: Sequence[Sealed]) -> Iterator[Sequence[Sealed]]:
    """Cut *items* so that no call is longer than a slow connection carries before its deadline."""
    first, size = 0, 0
    for place, item in enumerate(items):
        if place > first and (place - first >= BATCH or size + len(item.sealed) > BATCH_BYTES):
            yield items[first:place]
            first, size = place, 0
        size += len(item.sealed)
    if items:
        yield items[first:]


_LOST, _LEFT = b"02"


def _kept(result: Any) -> Any:
    """A stored result, or the sealed mark of one that was not kept."""
    return result[1:] if isinstance(result, bytes) and result.startswith(b"-") else result


async def _split(messages: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, bytes], None]:
    async for message in messages:
        task_id, _, sealed = message.partition(b"\0")
        yield task_id, sealed
