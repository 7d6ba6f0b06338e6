"""How much the fetchers of all partitions may claim together: the seats are shared, and nobody takes those of another."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from secure_queue.clock import monotonic
from secure_queue.execution.demand import LARGEST_CLAIM, Pace, ahead, demand
from secure_queue.execution.runs import Desk, Run

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

    async def portion(self, who: object, *, reserve: bool) -> int:
        """Wait until a claim is worth its round trip, say of how many tasks, and set so much aside for *who*."""
        async with self._turn:
            while not (count := self._demand()):
                self._desk.room = anyio.Event()
                await self._desk.room.wait()
            if reserve:
                self._reserved[who] = count, monotonic()
            return count

    def give_up(self, who: object) -> None:
        """What was set aside for *who* has come, or comes no more."""
        self._reserved.pop(who, None)
        self._desk.room.set()

    def _demand(self) -> int:
        desk = self._desk
        allowance = ahead(self.prefetch, self._pace)
        desk.low_water = min(allowance, LARGEST_CLAIM) // 2
        if desk.waiting > desk.low_water:
            return 0
        since = monotonic() - RESERVED_S
        promised = sum(count for count, at in self._reserved.values() if at > since)
        return demand(desk.idle_seats, desk.waiting + promised, allowance)

    def after_a_rest(self, count: int, waiters: int) -> int:
        """How many tasks each of several waiting fetchers asks for when it is woken.

        The pace of before says nothing now: they share the free seats, unless a prefetch was asked for. One at least is
        claimed in any case, and what has no seat then is given back.
        """
        free = count if self.prefetch is not None else min(count, self._desk.idle_seats)
        return max(1, -(-free // max(1, waiters)))

    def note(self) -> None:
        """A claim has come."""
        self._pace.note(self._desk.ended, monotonic())

    def surplus(self) -> list[Run]:
        """What several fetchers have claimed and nobody can start soon; it is the caller's now."""
        beyond = self._desk.free_seats + 2 * ahead(self.prefetch, self._pace)
        return self._desk.take_back(beyond) if self.fetchers > 1 and self._desk.waiting > beyond else []

    def return_surplus(self, hand_back: Callable[[Run], None]) -> None:
        """Hand back what cannot be started soon after all: short tasks were followed by long ones. Called now and then."""
        ended, now = self._desk.ended, monotonic()
        self._pace.slow_down((ended - self._ended) / (now - self._measured_at))
        self._ended, self._measured_at = ended, now
        self._desk.room.set()  # what was set aside for a server that is away may have become free
        if self.prefetch is None:
            for run in self._desk.take_back(beyond=ahead(None, self._pace)):
                hand_back(run)
