"""How much the fetchers of all partitions may claim together: the seats are shared, and nobody takes those of another."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from secure_queue.clock import monotonic
from secure_queue.execution.demand import LARGEST_CLAIM, Pace, ahead, demand
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.sharing import Share

RESERVED_S = 1.0
"""A claim that takes longer is one on a server that is away; what was set aside for it is for others then."""


class Appetite:
    """Fetchers come one after the other, in the order in which they asked: no partition is served before its turn."""

    def __init__(self, prefetch: int | None, desk: Desk) -> None:
        self.prefetch = prefetch
        self.fetchers = 1
        self._desk = desk
        self._pace = Pace()
        self._turn = anyio.Lock(fast_acquire=True)
        self._reserved: dict[object, tuple[int, float]] = {}
        self._ended = 0
        self._measured_at = monotonic()
        if desk.share is not None:
            desk.room = desk.share.seats.bell
            desk.share.join(desk, self._promised)

    async def portion(self, who: object, *, reserve: bool) -> int:
        """Wait until a claim is worth its round trip, say of how many tasks, and set so much aside for *who*."""
        if self._desk.share is not None:
            return await self._shared_portion(self._desk.share, who, reserve)
        async with self._turn:
            while not (count := self._demand()):
                self._desk.room = anyio.Event()
                await self._desk.room.wait()
            if reserve:
                self._reserved[who] = count, monotonic()
            return count

    async def _shared_portion(self, share: Share, who: object, reserve: bool) -> int:
        """The same when other queues want the seats too; one that waits for work listens also while there are none."""
        if not reserve:
            while not self._desk.may_take:
                await share.seats.bell.wait()
            return 1
        share.ask()
        try:
            async with self._turn:
                while not (count := self._shared_demand(share)):
                    await share.seats.bell.wait()
                self._reserved[who] = count, monotonic()
                share.begin_claim(who)
                return count
        finally:
            share.stop_asking()

    def _shared_demand(self, share: Share) -> int:
        free_here = self._desk.idle_seats - self._desk.waiting - self._promised()
        return int(max(0, min(free_here, self._desk.may_take - self._promised(), share.grant())))

    def give_up(self, who: object) -> None:
        """What was set aside for *who* has come, or comes no more."""
        self._reserved.pop(who, None)
        if self._desk.share is not None:
            self._desk.share.end_claim(who)
        self._desk.room.set()

    def _demand(self) -> int:
        desk = self._desk
        allowance = ahead(self.prefetch, self._pace)
        desk.low_water = min(allowance, LARGEST_CLAIM) // 2
        if desk.waiting > desk.low_water:
            return 0
        promised = self._promised()
        wanted = demand(desk.idle_seats, desk.waiting + promised, allowance)
        return wanted if desk.most is None else int(max(0, min(wanted, desk.may_take - promised)))

    def _promised(self) -> int:
        since = monotonic() - RESERVED_S
        return sum(count for count, at in self._reserved.values() if at > since)

    def after_a_rest(self, count: int, waiters: int) -> int:
        """How many of *count* tasks each of several waiting fetchers asks for when it is woken.

        The pace of before says nothing now: they share the free seats, unless a prefetch was asked for. One at least is
        claimed in any case, and what has no seat then is given back.
        """
        free = count if self.prefetch is not None else min(count, self._desk.idle_seats)
        return max(1, -(-free // max(1, waiters)))

    def note(self, found: int, kept: int) -> None:
        """A claim has *found* tasks, and *kept* of them stay here."""
        self._pace.note(self._desk.ended, monotonic())
        if self._desk.share is not None:
            self._desk.share.note(found, kept, self.fetchers)

    def surplus(self) -> list[Run]:
        """What several fetchers, or queues, have claimed and nobody can start soon; it is the caller's now."""
        desk = self._desk
        beyond = desk.free_seats + 2 * ahead(self.prefetch, self._pace) if self.fetchers > 1 else desk.waiting
        if desk.share is not None:
            beyond = min(beyond, max(0, desk.waiting - desk.share.excess))
        if desk.most is not None:
            beyond = min(beyond, max(0, desk.most - desk.processed - desk.seated))
        return desk.take_back(beyond) if desk.waiting > beyond else []

    def return_surplus(self, hand_back: Callable[[Run], None]) -> None:
        """Hand back what cannot be started soon after all: short tasks were followed by long ones. Called now and then."""
        ended, now = self._desk.ended, monotonic()
        self._pace.slow_down((ended - self._ended) / (now - self._measured_at))
        self._ended, self._measured_at = ended, now
        self._desk.room.set()  # what was set aside for a server that is away may have become free
        if self.prefetch is None:
            for run in self._desk.take_back(beyond=ahead(None, self._pace)):
                hand_back(run)
