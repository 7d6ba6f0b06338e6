"""The part of the storage contract that keeps limits: permits to run, moments to start, and who waits for them.

Everything of one limit lies in one partition, known by a digest. A task goes there by a name that says where it is itself:
its partition and its id. Nothing here is sealed: who can write to the storage can delay tasks, or let more of them run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from secure_queue.names import printable


class Rank(NamedTuple):
    """Where those of a rank stand in the line of a limit, one behind the other as they came: *width* from *first* on."""

    first: int
    width: int


class Ask(NamedTuple):
    """A task that is about to run asks for a permit."""

    digest: bytes
    who: bytes
    token: bytes
    most: int
    rank: Rank
    turn: bytes = b""
    """The digest of a key that takes turns with others in the line; empty for a task that stands behind all."""


class Place(NamedTuple):
    """The answer: admitted if *before* is None, else how many are before it in the line.

    *called* are the names of others whose turn it is by now; whoever learns it hurries them.
    """

    before: int | None
    called: tuple[bytes, ...] = ()


class Booking(NamedTuple):
    """A task that is about to run asks whether it may start."""

    digest: bytes
    who: bytes
    token: bytes
    most: int
    per_ms: int
    rank: Rank


class Holder(NamedTuple):
    """Who has a permit or a start: a name and a lease token, or a name alone, to which one was promised."""

    digest: bytes
    holder: bytes
    most: int


class Taking(NamedTuple):
    """What somebody who gives permits back would run next: so many tasks at the most, under a lease.

    A repeated *token* of the same *taker* gets what it got before, as far as it is still held.
    """

    taker: str
    token: bytes
    most: int
    lease_ms: int


class Parked(NamedTuple):
    """A claimed task that goes back for *wait_ms*, with a *note* what it waits for."""

    task_id: bytes
    token: bytes
    wait_ms: int
    note: str

    def __repr__(self) -> str:
        return f"<Parked {printable(self.task_id)} {self.wait_ms} ms>"


class LimitStorage(Protocol):
    """The verbs for it."""

    async def admit(self, lease_ms: int, asks: Sequence[Ask]) -> list[Place]:
        """Give permits that run out with the lease, or places in the line; who asks again keeps the place."""
        ...

    async def hold(self, lease_ms: int, holders: Sequence[Holder]) -> list[bool]:
        """Prolong permits; False where one was lost."""
        ...

    async def hold_again(self, lease_ms: int, holders: Sequence[Holder]) -> list[bool]:
        """Take permits that were lost while their tasks run on, even if there are too many then."""
        ...

    async def book(self, bookings: Sequence[Booking]) -> list[int]:
        """0 where a task starts now, else the milliseconds until its turn; who asks again keeps the place."""
        ...

    async def unbook(self, holders: Sequence[Holder]) -> list[bool]:
        """Give starts back that were not used; False where it was not known any more."""
        ...

    async def withdraw(self, holders: Sequence[Holder]) -> list[bool]:
        """Take names of tasks that will not come out of the lines; False where they did not stand there."""
        ...

    async def stall(self, digest: bytes, ms: int) -> int:
        """Let nothing start within a limit on rate for so long; says for how long it is now."""
        ...

    async def park(self, priority: str, runs: Sequence[Parked]) -> list[bool]:
        """Give claimed tasks back until their turn, at the latest for their time; False where the lease was lost."""
        ...

    async def hurry(self, task_ids: Sequence[bytes]) -> list[bool]:
        """Bring parked tasks, or those that are being parked, to the front; False where nothing is stored."""
        ...
