"""The verbs that keep what tasks say before their end, on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from secure_queue.redis.link import Argument
from secure_queue.redis.verbs import RedisVerbs
from secure_queue.reports import MOST_PART_BYTES, MOST_PARTS, Report, Reported

REPORT_DEADLINE_S = 20.0
REPLY_BYTES = 4 << 20
BATCH = 50


class RedisReporting(RedisVerbs):
    """The part of ``RedisStorage`` that knows progress and parts."""

    async def report(self, reports: Sequence[Report]) -> list[Reported]:
        kept: list[Reported] = []
        for first in range(0, len(reports), BATCH):
            kept += await self._report(reports[first : first + BATCH])
        return kept

    async def _report(self, reports: Sequence[Report]) -> list[Reported]:
        keys = [self.keys.meta]
        args: list[Argument] = [MOST_PARTS, MOST_PART_BYTES]
        for task_id, token, part, sealed, ttl_ms in reports:
            keys += (self.keys.bucket(task_id), self.keys.partial(task_id))
            args += (task_id, token, "progress" if part is None else part, sealed, ttl_ms)
        reply = cast("bytes", await self._run("report", keys, args, REPORT_DEADLINE_S))
        return [Reported(flag) for flag in reply.decode()]

    async def partial(self, task_id: bytes, first: int, count: int) -> tuple[bytes | None, list[bytes]]:
        args: list[Argument] = [first, count, REPLY_BYTES]
        reply = cast("list[Any]", await self._run("partial", [self.keys.partial(task_id)], args, REPORT_DEADLINE_S))
        return reply[0], reply[1:]
