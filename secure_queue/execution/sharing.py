"""Seats that several queues share: whose turn it is when one becomes free, decided anew for every claim.

In strict order a queue gets seats only while those before it have nothing to run. By weight, queues that have work start
tasks in proportion to their weights; what one does not use is there for the others. A queue whose server does not answer
holds nobody up: after a second its claim counts no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import anyio

from secure_queue.clock import monotonic

PATIENCE_S = 1.0
MOST_AT_ONCE = 500
UNKNOWN = object()


class Taker(Protocol):
    """Who takes tasks of one queue in."""

    @property
    def in_hand(self) -> int: ...
    @property
    def may_take(self) -> float: ...


class Bell:
    """Wakes all who wait for something that may have changed."""

    def __init__(self) -> None:
        self._waiting = 0
        self._event = anyio.Event()

    def set(self) -> None:
        """Ring."""
        if self._waiting:
            self._event.set()
            self._event = anyio.Event()
            self._waiting = 0

    async def wait(self) -> None:
        """Wait for the next ring."""
        self._waiting += 1
        await self._event.wait()


class Share:
    """What one queue has of the seats, and whether it wants more."""

    def __init__(self, seats: SharedSeats, weight: float) -> None:
        self.seats = seats
        self.weight = weight
        self.passed = 0.0
        """How many tasks it has started, divided by its weight; who has the least is next."""
        self._taker: Taker | None = None
        self._promised: Callable[[], int] = int
        self._asking = 0
        self._rests = True
        self._found_nothing = 0
        self._claiming: dict[object, float] = {UNKNOWN: monotonic()}
        """When claims began that are not over; before the first one is, nothing is known, and there may be work."""

    def join(self, taker: Taker, promised: Callable[[], int]) -> None:
        """From now on *taker* takes for this queue; so many tasks are *promised* to claims that are under way."""
        self._taker, self._promised = taker, promised

    def leave(self) -> None:
        """The queue needs no seats any more."""
        self._taker = None
        self._asking = 0
        self._claiming.clear()
        self.seats.bell.set()

    def ask(self) -> None:
        """A claim waits for seats."""
        self._come_back()
        self._asking += 1

    def stop_asking(self) -> None:
        """It does not wait any more."""
        self._asking -= 1

    def begin_claim(self, who: object) -> None:
        """A claim is on its way."""
        self._claiming[who] = monotonic()

    def end_claim(self, who: object) -> None:
        """It is over, whatever it brought, and so is the time when nothing was known."""
        self._claiming.pop(who, None)
        self._claiming.pop(UNKNOWN, None)

    def note(self, found: int, kept: int, fetchers: int = 1) -> None:
        """A claim has *found* tasks and *kept* so many; the queue rests when none of its *fetchers* finds any."""
        if found:
            self._come_back()
        self._found_nothing = 0 if found else self._found_nothing + 1
        self._rests = self._found_nothing >= fetchers
        self.passed += kept / self.weight

    def _come_back(self) -> None:
        """The time of a rest gives no credit; the moment between two claims is no rest, and takes none away."""
        if self._rests and not self.is_hungry:
            self.passed = max(self.passed, self.seats.least_passed(self))
            self._rests = False

    @property
    def in_hand(self) -> int:
        """How many seats are taken, or will be."""
        return 0 if self._taker is None else self._taker.in_hand + self._promised()

    @property
    def is_asking(self) -> bool:
        """Whether it would take a seat at once."""
        return self._taker is not None and self._asking > 0 and self._taker.may_take > 0

    @property
    def is_hungry(self) -> bool:
        """Whether there is work, as far as is known."""
        since = monotonic() - PATIENCE_S
        return self.is_asking or any(began > since for began in self._claiming.values())

    def grant(self) -> int:
        """How many more tasks this queue may take in now."""
        return self.seats.grant(self)

    @property
    def excess(self) -> int:
        """How many tasks more than there are seats all queues have in hand."""
        return max(0, -self.seats.free)


class SharedSeats:
    """So many *seats*, for the ``shares`` of several queues, highest first; without *weights* in strict order."""

    def __init__(self, seats: int, count: int, weights: Sequence[float] | None) -> None:
        self.seats = seats
        self.bell = Bell()
        self.strict = weights is None
        self.shares = [Share(self, weight) for weight in weights or [1.0] * count]

    @property
    def free(self) -> int:
        """Seats that nobody has; negative when too much was taken in."""
        return self.seats - sum(share.in_hand for share in self.shares)

    def least_passed(self, but: Share) -> float:
        """The account of the queue that has had least: who comes back from a rest begins there, not with a credit."""
        return min((share.passed for share in self.shares if share is not but and share.is_hungry), default=0.0)

    def grant(self, me: Share) -> int:
        """How many of the free seats are for *me*."""
        free = min(self.free, MOST_AT_ONCE)
        if free <= 0:
            return 0
        return self._strictly(me, free) if self.strict else self._by_weight(me, free)

    def _strictly(self, me: Share, free: int) -> int:
        before = self.shares[: self.shares.index(me)]
        return 0 if any(share.is_hungry for share in before) else free

    def _by_weight(self, me: Share, free: int) -> int:
        accounts = {share: share.passed for share in self.shares if share is me or share.is_hungry}
        mine = 0
        for _ in range(free):
            next_one = min(accounts, key=lambda share: accounts[share])
            accounts[next_one] += 1 / next_one.weight
            mine += next_one is me
        return mine
