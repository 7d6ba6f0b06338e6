"""The verbs that keep pauses, on Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from secure_queue.pausing import MOST_PAUSES, Shelved, Shelving
from secure_queue.redis.link import Argument
from secure_queue.redis.verbs import RedisVerbs

DEADLINE_S = 20.0


class RedisPausing(RedisVerbs):
    """The part of ``RedisStorage`` that knows pauses."""

    async def pause(self, pauses: Mapping[str, int]) -> bool:
        args: list[Argument] = [MOST_PAUSES, *(part for pair in pauses.items() for part in pair)]
        return await self._run("pause", [self.keys.meta, self.keys.paused], args, DEADLINE_S) == b"paused"

    async def resume(self, what: str) -> bool:
        own = self.keys
        keys = [own.meta, own.paused, own.wake]
        keys += (key for name in own.priorities for key in (own.ready[name], own.shelf[name]))
        return await self._run("resume", keys, [what], DEADLINE_S) == b"resumed"

    async def shelve(self, priority: str, runs: Sequence[Shelving]) -> list[Shelved]:
        own = self.keys
        keys = [own.meta, own.leases, own.paused, own.shelf[priority], *(own.bucket(run.task_id) for run in runs)]
        reply = cast("bytes", await self._run("shelve", keys, [part for run in runs for part in run], DEADLINE_S))
        return [Shelved(character) for character in reply]

    async def untrusted_pauses(self) -> dict[str, int]:
        reply = cast("list[Any]", await self._run("pauses", [self.keys.paused], [MOST_PAUSES], DEADLINE_S))
        return {what.decode("utf-8", "replace"): left for what, left in zip(reply[::2], reply[1::2], strict=True)}
