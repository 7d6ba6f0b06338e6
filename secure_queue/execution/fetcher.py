"""Claims as many tasks as can be started soon, and waits for a wake-up when there are none."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import anyio

from secure_queue.clock import monotonic
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.execution.demand import LARGEST_CLAIM, Pace, ahead, demand
from secure_queue.execution.runs import Desk, Run
from secure_queue.settings import WorkerSettings
from secure_queue.storage import Claim, Storage

WAKE_S = 2.0
PAUSE_S = 0.5
LAST_CLAIM_S = 2.0
MOST_UNSETTLED = 2 * LARGEST_CLAIM
"""With more runs ended and not settled, no more are claimed: a crash would run them all again."""

_log = logging.getLogger("secure_queue.worker")


class Fetcher:
    """Fills the desk. With *drained* it calls back once, when the queue is empty and nothing is held (burst)."""

    def __init__(
        self,
        storage: Storage,
        settings: WorkerSettings,
        desk: Desk,
        hand_back: Callable[[Run], None],
        drained: Callable[[], None] | None,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._desk = desk
        self._hand_back = hand_back
        self._drained = drained
        self._pace = Pace()
        self._claims = 0
        self._connected = False
        self._uncertain: bytes | None = None
        self._ended = 0
        self._measured_at = monotonic()
        self._token = b"%s.%s" % (settings.worker_id.encode(), os.urandom(4).hex().encode())  # ids may come again
        self._lease_ms = round(settings.idle_timeout_s * 1000)
        self._shield = anyio.CancelScope(shield=True)

    async def run(self) -> None:
        """Claim, for ever."""
        more = True
        while True:
            count = await self._room()
            try:
                await self.recover()
                more = await (self._claim(count) if more else self._claim_when_woken(self._no_more_than_seats(count)))
            except Exception as error:
                await self._complain(error)
                continue
            if not more and self._drained is not None:
                await self._pause_or_end(self._drained)
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

    async def _room(self) -> int:
        """Wait until a claim is worth its round trip, and say of how many tasks."""
        desk = self._desk
        while True:
            allowance = ahead(self._settings.prefetch, self._pace)
            desk.low_water = min(allowance, LARGEST_CLAIM) // 2
            if desk.waiting <= desk.low_water and desk.unsettled <= MOST_UNSETTLED:
                count = demand(desk.idle_seats, desk.waiting, allowance)
                if count:
                    return count
            desk.room = anyio.Event()
            await desk.room.wait()

    async def _claim(self, count: int) -> bool:
        """Claim up to *count* tasks; say whether there is more."""
        more = False
        # Shielded: a claim whose answer nobody takes would keep its tasks waiting until their leases run out.
        with anyio.CancelScope(shield=True) as self._shield:
            self._uncertain = token = self._next_token()
            more, claims = await self._storage.claim(self._settings.worker_id, token, count, self._lease_ms)
            self._uncertain, self._connected = None, True
            self._take(claims)
        return more

    async def _claim_when_woken(self, count: int) -> bool:
        """Wait for a wake-up and claim; whatever goes wrong, the next claim asks plainly."""
        self._uncertain = token = self._next_token()
        found = await self._storage.claim_when_woken(self._settings.worker_id, token, count, self._lease_ms, WAKE_S)
        if found is None:
            return True
        self._uncertain = None
        more, claims = found
        self._take(claims)
        return more

    def _no_more_than_seats(self, count: int) -> int:
        """After a rest the pace of before says nothing: claim for free seats only, unless a prefetch was asked for."""
        return count if self._settings.prefetch is not None else max(1, min(count, self._desk.idle_seats))

    async def recover(self) -> None:
        """Take what a claim of unknown outcome has claimed after all; also to be called after this was cancelled."""
        if self._uncertain is not None:
            _, claims = await self._storage.claim(self._settings.worker_id, self._uncertain, 0, self._lease_ms)
            self._uncertain = None
            self._take(claims)

    def return_surplus(self) -> None:
        """Hand back what cannot be started soon after all: short tasks were followed by long ones. Called now and then."""
        ended, now = self._desk.ended, monotonic()
        self._pace.slow_down((ended - self._ended) / (now - self._measured_at))
        self._ended, self._measured_at = ended, now
        if self._settings.prefetch is None:
            for run in self._desk.take_back(beyond=ahead(None, self._pace)):
                self._hand_back(run)

    def _next_token(self) -> bytes:
        self._claims += 1
        return b"%s.%x" % (self._token, self._claims)

    def _take(self, claims: list[Claim]) -> None:
        self._desk.add(claims)
        self._pace.note(self._desk.ended, monotonic())

    def hurry(self) -> None:
        """A claim under way may take two more seconds; to be called before this is cancelled."""
        self._shield.deadline = anyio.current_time() + LAST_CLAIM_S

    async def _pause_or_end(self, drained: Callable[[], None]) -> None:
        if self._desk.at_rest:
            drained()
        await anyio.sleep(0.01)
