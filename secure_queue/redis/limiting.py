"""The verbs that keep limits, on Redis: each packs its arguments, runs one script and reads its reply."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final, cast

from secure_queue.limiting import Ask, Booking, Holder, Parked, Place, Taking
from secure_queue.redis.link import Argument, Reply, flags
from secure_queue.redis.verbs import RedisVerbs
from secure_queue.storage import Claim, Passed

DEADLINE_S: Final = 20.0
PROMISED_MS: Final = 5_000
"""A task whose turn has come, and which does not come, is passed over after so long."""


class RedisLimiting(RedisVerbs):
    """The part of ``RedisStorage`` that knows limits."""

    _max_payload_bytes: int

    @abstractmethod
    def _claimed(self, token: bytes, reply: Reply) -> tuple[bool, list[Claim]]: ...

    async def admit(self, lease_ms: int, asks: Sequence[Ask]) -> list[Place]:
        keys = [self.keys.meta]
        args: list[Argument] = [lease_ms, PROMISED_MS]
        for digest, who, token, most, rank, turn in asks:
            keys += (self.keys.permits(digest), self.keys.line(digest), self.keys.turns(digest))
            args += (who, token, most, *rank, turn)
        reply = cast("list[list[Any]]", await self._run("admit", keys, args, DEADLINE_S))
        return [Place(number - 1 if number else None, tuple(called)) for number, *called in reply]

    async def leave(self, holders: Sequence[Holder], taking: Taking) -> Passed:
        own, (taker, token, most_tasks, lease_ms) = self.keys, taking
        keys = [own.meta, own.wake, own.called, own.leases, own.results, own.paused, own.unique]
        keys += (own.last_claim(taker), *own.buckets, *own.both)
        args: list[Argument] = [PROMISED_MS, own.partition, len(own.priorities)]
        args += (most_tasks, lease_ms, token, self._max_payload_bytes)
        for digest, holder, most in holders:
            keys += (self.keys.permits(digest), self.keys.line(digest))
            args += (holder, most)
        given, *elsewhere = cast("list[Any]", await self._run("leave", keys, args, DEADLINE_S))
        return Passed(self._claimed(token, given)[1], elsewhere)

    async def hold(self, lease_ms: int, holders: Sequence[Holder]) -> list[bool]:
        return await self._hold(lease_ms, holders, again=0)

    async def hold_again(self, lease_ms: int, holders: Sequence[Holder]) -> list[bool]:
        return await self._hold(lease_ms, holders, again=1)

    async def _hold(self, lease_ms: int, holders: Sequence[Holder], *, again: int) -> list[bool]:
        keys = [self.keys.meta, *(self.keys.permits(one.digest) for one in holders)]
        args: list[Argument] = [lease_ms, again, *(one.holder for one in holders)]
        return flags(await self._run("hold", keys, args, lease_ms / 3000))

    async def book(self, bookings: Sequence[Booking]) -> list[int]:
        own, keys = self.keys, [self.keys.meta]
        args: list[Argument] = []
        for digest, who, token, most, per_ms, rank in bookings:
            keys += (own.starts(digest), own.line(digest), own.expected(digest))
            args += (who, token, most, per_ms, *rank)
        return cast("list[int]", await self._run("book", keys, args, DEADLINE_S))

    async def unbook(self, holders: Sequence[Holder]) -> list[bool]:
        keys = [self.keys.meta, *(self.keys.starts(one.digest) for one in holders)]
        return flags(await self._run("unbook", keys, [one.holder for one in holders], DEADLINE_S))

    async def withdraw(self, holders: Sequence[Holder]) -> list[bool]:
        keys = [self.keys.meta]
        for one in holders:
            keys += (self.keys.line(one.digest), self.keys.expected(one.digest))
        return flags(await self._run("withdraw", keys, [one.holder for one in holders], DEADLINE_S))

    async def stall(self, digest: bytes, ms: int) -> int:
        return cast("int", await self._run("stall", [self.keys.meta, self.keys.expected(digest)], [ms], DEADLINE_S))

    async def park(self, priority: str, runs: Sequence[Parked]) -> list[bool]:
        own = self.keys
        keys = [own.meta, own.leases, own.wake, own.ready[priority], own.due[priority], own.called]
        keys += (own.bucket(run.task_id) for run in runs)
        return flags(await self._run("park", keys, [part for run in runs for part in run], DEADLINE_S))

    async def hurry(self, task_ids: Sequence[bytes]) -> list[bool]:
        keys = [self.keys.meta, self.keys.wake, self.keys.called, *self.keys.both]
        keys += (self.keys.bucket(task_id) for task_id in task_ids)
        return flags(await self._run("hurry", keys, [len(self.keys.priorities), *task_ids], DEADLINE_S))
