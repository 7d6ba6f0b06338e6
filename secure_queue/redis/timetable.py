"""The verbs that keep schedules, the register and the crew, on Redis: each packs its arguments and runs one script."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

from secure_queue.durability import AT_PRIMARY, Assurance, Durability
from secure_queue.names import printable
from secure_queue.partitions import MOST_PARTITIONS
from secure_queue.redis.link import Argument, Link, Reply
from secure_queue.redis.verbs import RedisVerbs
from secure_queue.storage import Register
from secure_queue.timetable import Fired, Firing, Timetable

READ_DEADLINE_S = 20.0
MOST_SCHEDULES, TIMETABLE_BYTES = 10_000, 16 << 20
REGISTER_MS = 366 * 86_400_000
"""After so long without anybody it is forgotten how many partitions a queue has."""


class RedisTimetable(RedisVerbs):
    """The part of ``RedisStorage`` that knows schedules, the register and the crew."""

    _link: Link
    _deadline_s: float
    _max_payload_bytes: int

    async def schedule(
        self, schedule_id: bytes, sealed: bytes, deadline: float, assurance: Assurance = AT_PRIMARY
    ) -> Durability | None:
        args: list[Argument] = [schedule_id, sealed, nonce(), MOST_SCHEDULES]
        reply, level = await self._run_assured("schedule", self._schedule_keys, args, deadline, assurance)
        return level if word(reply) == "scheduled" else None

    async def unschedule(self, schedule_id: bytes) -> bool:
        args: list[Argument] = [schedule_id, nonce()]
        return word(await self._run("unschedule", self._schedule_keys, args, READ_DEADLINE_S)) == "removed"

    async def timetable(self, version: bytes, names: Sequence[bytes]) -> Timetable:
        args: list[Argument] = [version, self._max_payload_bytes, TIMETABLE_BYTES, *names]
        reply = cast("list[Any]", await self._run("timetable", self._schedule_keys, args, READ_DEADLINE_S))
        now_ms, found, changed, marks = reply
        schedules = None if changed is None else dict(zip(changed[::2], changed[1::2], strict=True))
        return Timetable(now_ms, found, schedules, marks)

    async def fire(self, firing: Firing) -> Fired:
        own = self.keys
        places = [own.schedules, own.fired, own.result(firing.task_id), *own.buckets]
        keys = [own.meta, own.wake, own.ready[firing.priority or own.priorities[-1]], *places]
        return Fired(word(await self._run("fire", keys, [*firing[:-2], int(firing.waits)], READ_DEADLINE_S)))

    async def untrusted_workers(self) -> frozenset[str]:
        names = cast("list[bytes]", await self._run("staff", [self.keys.workers], [], READ_DEADLINE_S))
        return frozenset(map(printable, names))

    async def shrink(self, partitions: int, fewer: int) -> bool:
        return await self._run("shrink", [self.keys.config], [partitions, fewer], READ_DEADLINE_S) == 1

    async def register(self, partitions: int, key_partitions: int | None) -> Register:
        matters = partitions > 0 and not key_partitions  # what is fixed already does not follow from earlier use
        args: list[Argument] = [partitions, key_partitions or 0, MOST_PARTITIONS, REGISTER_MS]
        args.append(int(matters and await self._holds_something()))
        reply = await self._run("register", [self.keys.config, self.keys.meta], args, self._deadline_s)
        return Register(*cast("list[int]", reply))

    async def _holds_something(self) -> bool:
        """Asked without a script: a server lets nobody run one on keys that he may only read."""
        own = self.keys
        return cast("int", await self._link.command("EXISTS", own.leases, own.results, own.dead, *own.both)) > 0

    @property
    def _schedule_keys(self) -> list[bytes]:
        return [self.keys.meta, self.keys.schedules, self.keys.fired]


def nonce() -> bytes:
    """A name that nobody has used yet."""
    return os.urandom(8).hex().encode()


def word(reply: Reply) -> str:
    """The word that a script answers."""
    return cast("bytes", reply).decode()
