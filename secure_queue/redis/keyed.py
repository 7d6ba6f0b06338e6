"""The verbs that know keys, on Redis: each packs its arguments, runs one script and reads its reply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

from secure_queue.durability import AT_PRIMARY, Assurance
from secure_queue.keyed import Kept, Keyed
from secure_queue.redis.batches import batches
from secure_queue.redis.link import Argument
from secure_queue.redis.replay import Replay
from secure_queue.redis.verbs import RedisVerbs

ENTER_DEADLINE_S: Final = 20.0
_STORED: Final = b"1"
_AGAIN: Final = "again"


class RedisKeyed(RedisVerbs):
    """The part of ``RedisStorage`` that knows keys."""

    replay: Replay
    _counters: Counter[str]

    async def enqueue_keyed(
        self, tasks: Sequence[Keyed], deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> list[Kept]:
        found: list[Kept] = []
        for batch in batches(tasks, lambda task: len(task.sealed)):
            keys, args = self._packed(batch)
            reply, level = await self._run_assured("enqueue_keyed", keys, args, deadline, assurance)
            words = cast("list[bytes]", reply)
            stored = [task for task, word in zip(batch, words, strict=True) if word == _STORED]
            if stored:  # what another task stood in the way of must not come back in a replay
                kept = [task._replace(scope=_AGAIN, replaces=False) for task in stored]
                self.replay.keep("enqueue_keyed", *self._packed(kept))
            if level is not assurance.level:
                self._counters["degraded"] += len(stored)
            found += [Kept(word == _STORED, word[1:] if word[:1] == b"=" else None, level) for word in words]
        return found

    def _packed(self, tasks: Sequence[Keyed]) -> tuple[list[bytes], list[Argument]]:
        own = self.keys
        keys = [own.meta, own.wake, own.finished, own.unique, own.lines, *own.buckets, *own.both]
        args: list[Argument] = []
        for task in tasks:
            keys.append(own.result(task.task_id))
            priority = own.priorities.index(task.priority) + 1
            args += (*task[:3], priority, *task[4:7], int(task.replaces), *task[8:])
        return keys, args

    async def enter(self, task_id: bytes, token: bytes, digest: bytes) -> bytes | None:
        return await self._enter(digest, task_id, token, 0)

    async def enter_by_permit(self, digest: bytes, holder: bytes, lease_ms: int) -> bytes | None:
        return await self._enter(digest, holder, b"", lease_ms)

    async def _enter(self, digest: bytes, who: bytes, token: bytes, lease_ms: int) -> bytes | None:
        own = self.keys
        keys = [own.meta, own.unique, own.permits(digest), *own.buckets]
        reply = cast("bytes", await self._run("enter", keys, [digest, who, token, lease_ms], ENTER_DEADLINE_S))
        if reply.startswith(b"="):
            return reply[1:]
        return who if reply == b"lost" else None
