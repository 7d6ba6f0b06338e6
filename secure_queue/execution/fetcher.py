"""Claims the tasks of one partition, as many as can be started soon, and waits for a wake-up when there are none."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable

import anyio
from anyio.lowlevel import checkpoint

from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.execution.appetite import Appetite
from secure_queue.execution.demand import LARGEST_CLAIM
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import Desk, Run
from secure_queue.settings import WorkerSettings
from secure_queue.storage import Claim, Storage

WAKE_S = 2.0
SWEEP_S = 1.5
PAUSE_S = 0.5
TURNS = 5
"""Of the event loop, from a claim to the call that settles a short task: seat, tray, writer and what wakes them."""
LAST_CLAIM_S = 2.0
MOST_UNSETTLED = 2 * LARGEST_CLAIM
"""With more runs ended and not settled, no more are claimed: a crash would run them all again."""

_log = logging.getLogger("secure_queue.worker")


class Fetcher:
    """Fills the desk from one partition. With *rested* it calls that after every claim that left nothing (burst).

    It calls *look_for_due* when it was woken because a task is due soon, or does not know why. *first* are those that a
    worker starts with: what is wrong with its configuration shows there.
    """

    def __init__(
        self,
        storage: Storage,
        partition: int,
        settings: WorkerSettings,
        desk: Desk,
        appetite: Appetite,
        outbox: Outbox,
        hand_back: Callable[[Run], None],
        look_for_due: Callable[[], None],
        *,
        rested: Callable[[], None] | None,
        first: bool,
    ) -> None:
        self._storage = storage
        self._partition = partition
        self._desk = desk
        self._appetite = appetite
        self._outbox = outbox
        self._hand_back = hand_back
        self._look_for_due = look_for_due
        self._rested = rested
        self._claims = 0
        self._uncertain: bytes | None = None
        self._name = f"{settings.worker_id}.{os.urandom(4).hex()}"  # ids may come again, even at the same time
        self._lease_ms = round(settings.idle_timeout_s * 1000)
        self._shield = anyio.CancelScope(shield=True)
        self.waiters = 1
        """At how many partitions this worker waits; 0: this one is not among them."""
        self._connected = not first
        self.empty_at = -1
        """What the desk had seen before a claim that left nothing."""

    async def run(self) -> None:
        """Claim, for ever."""
        more = True
        while True:
            await self._until_settled()
            before, self.empty_at = self._desk.changes, -1
            try:
                await self.recover()
                more = await (self._claim() if more else self._wait_or_look_in())
            except Exception as error:
                await self._complain(error)
                continue
            if not more and self._rested is not None:
                self.empty_at = before
                self._rested()
                await anyio.sleep(0.01)
                more = True

    async def _complain(self, error: Exception) -> None:
        """Say what went wrong and pause: nothing stored, and no outage, may end the worker."""
        if isinstance(error, ConfigurationError) and not self._connected:
            raise error  # a wrong password or a missing right is said at once, not repeated for ever
        expected = isinstance(error, SecureQueueError) and not isinstance(error, ConfigurationError)
        _log.log(
            logging.WARNING if expected else logging.ERROR,
            "no tasks can be claimed now: %s",
            error,
            exc_info=None if expected else error,
        )
        await anyio.sleep(PAUSE_S)

    async def _until_settled(self) -> None:
        while self._outbox.unsettled > MOST_UNSETTLED:
            await self._desk.until_something_is_settled()

    async def _claim(self) -> bool:
        """Claim as many tasks as have room; say whether there is more."""
        count = await self._appetite.portion(self, reserve=True)
        # Shielded: a claim whose answer nobody takes would keep its tasks waiting until their leases run out.
        with anyio.CancelScope(shield=True) as self._shield:
            self._uncertain = token = self._next_token()
            try:
                more, claims = await self._storage.claim(self._name, token, count, self._lease_ms)
            finally:
                self._appetite.give_up(self)
            self._uncertain, self._connected = None, True
            return self._take(claims) or more
        return False  # there was no time left for it

    async def _wait_or_look_in(self) -> bool:
        if self.waiters:
            await self._let_others_go_first()
            count = self._appetite.after_a_rest(await self._appetite.portion(self, reserve=False), self.waiters)
            return await self._claim_when_woken(count)
        await anyio.sleep(SWEEP_S * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load
        return True

    async def _let_others_go_first(self) -> None:
        """Ask for more only when what was claimed has run and is on its way, if that is a matter of a moment."""
        for _ in range(TURNS):
            await checkpoint()

    async def _claim_when_woken(self, count: int) -> bool:
        """Wait for a wake-up and claim; whatever goes wrong, the next claim asks plainly."""
        self._uncertain = token = self._next_token()
        found = await self._storage.claim_when_woken(self._name, token, count, self._lease_ms, WAKE_S)
        if found is None:
            self._look_for_due()  # the word for it may be lost with the answer
            return True
        self._uncertain = None
        more, claims, is_due_soon = found
        if is_due_soon:
            self._look_for_due()
        return self._take(claims) or more

    def _take(self, claims: list[Claim]) -> bool:
        """Take in what was claimed while others claimed too; say whether some of it had to be given back."""
        self._desk.add(claims, self._partition)
        surplus = self._appetite.surplus()
        self._appetite.note(len(claims), len(claims) - len(surplus))
        for run in surplus:
            self._hand_back(run)
        return bool(surplus)

    async def recover(self) -> None:
        """Take what a claim of unknown outcome has claimed after all; also to be called after this was cancelled."""
        if self._uncertain is not None:
            _, claims = await self._storage.claim(self._name, self._uncertain, 0, self._lease_ms)
            self._uncertain = None
            self._take(claims)

    def _next_token(self) -> bytes:
        self._claims += 1
        return b"%s.%x" % (self._name.encode(), self._claims)

    def hurry(self) -> None:
        """A claim under way may take two more seconds; to be called before this is cancelled."""
        self._shield.deadline = anyio.current_time() + LAST_CLAIM_S
