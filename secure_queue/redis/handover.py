"""The verbs that know dependents, on Redis: each packs its arguments, runs one script and reads its reply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.handover import Description, Followed, Handover, Linked, Outgoing, Question
from secure_queue.redis.batches import BATCH, BATCH_BYTES, batches
from secure_queue.redis.link import Argument
from secure_queue.redis.replay import Replay
from secure_queue.redis.verbs import RedisVerbs

HANDED_PER_STEP: Final = 50
KEEP_MS: Final = 8 * 86_400_000
DEADLINE_S: Final = 20.0

T = TypeVar("T")


class RedisHandover(RedisVerbs):
    """The part of ``RedisStorage`` that knows dependents."""

    replay: Replay
    _max_payload_bytes: int
    _counters: Counter[str]
    _on_outgoing: list[Callable[[], None]]

    async def enqueue_linked(
        self, tasks: Sequence[Linked], look_ms: int, deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> list[tuple[bool, Durability]]:
        stored: dict[bytes, tuple[bool, Durability]] = {}
        for priority in dict.fromkeys(task.priority for task in tasks):
            alike = [task for task in tasks if task.priority == priority]
            for batch in batches(alike, lambda task: len(task.sealed) + len(task.children)):
                answers = await self._enqueue_linked(batch, priority, look_ms, deadline, assurance)
                stored |= zip([task.task_id for task in batch], answers, strict=True)
        return [stored[task.task_id] for task in tasks]

    async def _enqueue_linked(
        self, tasks: Sequence[Linked], priority: str, look_ms: int, deadline: float, assurance: Assurance
    ) -> list[tuple[bool, Durability]]:
        own = self.keys
        keys = [own.meta, own.wake, own.ready[priority], own.due[priority], own.finished]
        args: list[Argument] = []
        for task_id, sealed, at_ms, _, parents, children, keep_ms, decided_by in tasks:
            keys += (own.bucket(task_id), own.result(task_id), own.handed(task_id))
            args += (task_id, sealed, at_ms, f"{parents}{decided_by}", children, keep_ms, look_ms)
        reply, level = await self._run_assured("enqueue_linked", keys, args, deadline, assurance)
        self.replay.keep("enqueue_linked", keys, args)
        if level is not assurance.level:
            self._counters["degraded"] += len(tasks)
        return [(flag == ord("1"), level) for flag in cast("bytes", reply)]

    async def follow(
        self,
        parents: Sequence[tuple[bytes, bytes]],
        *,
        tell: bool,
        deadline: float,
        assurance: Assurance = AT_PRIMARY,
    ) -> list[Followed]:
        found: list[Followed] = []
        for batch in batches(parents, lambda parent: len(parent[1])):
            keys = [self.keys.meta, self.keys.outbox]
            args: list[Argument] = [b"1" if tell else b"0"]
            for task_id, children in batch:
                keys += (self.keys.bucket(task_id), self.keys.result(task_id))
                args += (task_id, children)
            reply, _ = await self._run_assured("follow", keys, args, deadline, assurance)
            found += [Followed(word.decode()) for word in cast("list[bytes]", reply)]
        return found

    def on_outgoing(self, listener: Callable[[], None]) -> None:
        self._on_outgoing.append(listener)

    def _tell_of_outgoing(self) -> None:
        for listener in self._on_outgoing:
            listener()

    async def outgoing(self) -> list[Outgoing]:
        reply = cast("list[bytes]", await self._run("outgoing", [self.keys.outbox], [BATCH, BATCH_BYTES], DEADLINE_S))
        return [_outgoing(name, entry) for name, entry in zip(reply[::2], reply[1::2], strict=True)]

    async def deliver(self, handovers: Sequence[Handover], deadline: float, assurance: Assurance = AT_PRIMARY) -> None:
        for batch in batches(handovers, lambda one: len(one.untrusted)):
            keys = [self.keys.meta, self.keys.wake, *self.keys.both]
            args: list[Argument] = [len(self.keys.priorities), KEEP_MS]
            for one in batch:
                keys += (self.keys.bucket(one.task_id), self.keys.handed(one.task_id))
                args += one
            await self._run_assured("deliver", keys, args, deadline, assurance)

    async def sent(self, places: Sequence[bytes]) -> None:
        await self._run("sent", [self.keys.meta, self.keys.outbox], list(places), DEADLINE_S)

    async def handed(self, questions: Sequence[Question]) -> list[tuple[int, Mapping[bytes, bytes]]]:
        counts: dict[int, int] = {}
        found: list[dict[bytes, bytes]] = [{} for _ in questions]
        for batch in batches(list(_parts(questions)), lambda part: len(part[1]) * BATCH_BYTES // HANDED_PER_STEP):
            args: list[Argument] = [self._max_payload_bytes]
            for _, parents in batch:
                args += (len(parents), *parents)
            keys = [self.keys.handed(questions[place].task_id) for place, _ in batch]
            fields = iter(cast("list[Any]", await self._run("handed", keys, args, DEADLINE_S)))
            for place, parents in batch:
                count = next(fields)
                counts.setdefault(place, count)  # what comes later is seen by the next look
                pairs = [(parent, next(fields)) for parent in parents]
                found[place] |= {parent: sealed for parent, sealed in pairs if sealed is not None}
        return [(counts[place], found[place]) for place in range(len(questions))]

    async def whose(self, task_id: bytes) -> tuple[bytes | int | None, bytes | int | None]:
        keys = [self.keys.bucket(task_id), self.keys.result(task_id)]
        task, result = cast("list[Any]", await self._run("whose", keys, [task_id, self._max_payload_bytes], DEADLINE_S))
        return task, result[1:] if isinstance(result, bytes) and result.startswith(b"-") else result

    async def sleep(
        self, task_id: bytes, token: bytes, priority: str, *, look_ms: int, seen: int, drop: Sequence[bytes]
    ) -> bool:
        own = self.keys
        keys = [own.meta, own.leases, own.wake, own.ready[priority], own.due[priority]]
        keys += (own.bucket(task_id), own.handed(task_id))
        return await self._run("sleep", keys, [task_id, token, look_ms, seen, *drop], DEADLINE_S) != b"lost"

    async def forget_handed(self, task_ids: Sequence[bytes]) -> list[bool]:
        keys = [self.keys.meta]
        for task_id in task_ids:
            keys += (self.keys.bucket(task_id), self.keys.handed(task_id))
        reply = await self._run("forget_handed", keys, list(task_ids), DEADLINE_S)
        return [flag == ord("1") for flag in cast("bytes", reply)]

    async def keep_workflows(self, descriptions: Sequence[Description], deadline: float) -> None:
        for batch in batches(descriptions, lambda one: len(one.sealed)):
            keys = [self.keys.workflow(one.workflow_id) for one in batch]
            args: list[Argument] = [part for one in batch for part in one[1:]]
            await self._run("keep_workflows", keys, args, deadline)

    async def workflow(self, workflow_id: bytes) -> bytes | int | None:
        args: list[Argument] = [b"string", b"", self._max_payload_bytes]
        found = await self._run("peek", [self.keys.workflow(workflow_id)], args, DEADLINE_S)
        return cast("bytes | int | None", found)


def _outgoing(name: bytes, entry: bytes) -> Outgoing:
    children, _, sealed = entry.partition(b"\0")
    return Outgoing(name, name.partition(b" ")[0], children, sealed)


def _parts(questions: Sequence[Question]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Questions in parts of few parents: the place of each, and some of its parents."""
    for place, (_, parents) in enumerate(questions):
        for first in range(0, len(parents), HANDED_PER_STEP):
            yield place, parents[first : first + HANDED_PER_STEP]
