"""Decides whether a task may run now by the limits on it, its pause, and those of the whole queue.

A task that may not is given back without using a try: it is laid aside until the end of its pause, or stands in the line of
the limit that it waits for, until somebody brings it (``gates.py``); a look of its own, seldom, is what remains if that
worker dies in between. Permits are asked for in a fixed order, and nothing is held while a task waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import anyio

from secure_queue.errors import SecureQueueError
from secure_queue.execution.gates import Gates, name_of
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.pauses import Pauses
from secure_queue.execution.runs import Desk, Held, Run
from secure_queue.execution.settling import Settling
from secure_queue.execution.verdict import Failed
from secure_queue.keying import turn_of
from secure_queue.limiting import Ask, Booking, Holder, Parked, Rank
from secure_queue.limits import Limit, RateLimit, digest_of, look_ms, rank_of
from secure_queue.names import printable
from secure_queue.notes import Wait, withdraw
from secure_queue.settings import QueueSettings, WorkerSettings
from secure_queue.storage import Storages

FIRST_LOOK_S: Final = 1.0
PAUSE_MS: Final = 500
QUEUE: Final = "the queue"
"""The scope of limits that all tasks share; no name of a task, for it has a blank and stands without a place."""

_log = logging.getLogger("secure_queue.worker")


@dataclass(frozen=True, slots=True, order=True)
class Want:
    """One limit of one run, in the order in which they are asked for: permits first, then by place."""

    is_rate: bool
    home: int
    digest: bytes
    limit: Any
    turn: bytes = b""

    @property
    def note(self) -> str:
        """What a task that waits for it is parked with."""
        return str(Wait(self.is_rate, self.home, self.digest, str(self.limit)))


class Admission:
    """One object serves all seats of a worker."""

    def __init__(
        self,
        storages: Storages,
        outboxes: Mapping[int, Outbox],
        gates: Gates,
        desk: Desk,
        settling: Settling,
        queue: QueueSettings,
        settings: WorkerSettings,
    ) -> None:
        self._storages = storages
        self._outboxes = outboxes
        self._gates = gates
        self._desk = desk
        self._settling = settling
        self._ranks = {name: rank for rank, name in enumerate(queue.priorities)}
        self._ageing_ms, self._queue_name = queue.ageing_ms, queue.queue_name
        self._limits = settings.limits
        self._pauses = Pauses(storages, outboxes, queue.partitions)
        self.watches = bool(self._limits)
        """Whether there may be something in the way of tasks that have no limits of their own."""

    async def open(self) -> None:
        """Learn what is paused before the first task comes, if the server tells it in time."""
        with anyio.move_on_after(FIRST_LOOK_S):
            try:
                await self.look()
            except SecureQueueError as error:
                _log.warning("it cannot be read now what is paused: %s", error)

    async def look(self) -> None:
        """Learn what is paused; to be called now and then."""
        await self._pauses.look()
        self.watches = bool(self._limits or self._pauses.names)

    async def admit(self, run: Run) -> bool:
        """Whether *run* may begin; else it is settled, or parked until its turn."""
        try:
            return await self._admit(run)
        except SecureQueueError as error:
            self.leave(run)
            _log.warning("a limit of task %s cannot be asked now: %s", printable(run.genuine.task_id), error)
            self._settling.hand_back(run, after_ms=PAUSE_MS)
        except BaseException:
            self.leave(run)
            raise
        return False

    async def _admit(self, run: Run) -> bool:
        if run.genuine.function in self._pauses.names and await self._is_laid_aside(run):
            return False
        try:
            wanted = await self._wanted(run)
        except Exception as error:  # a key is code of the application
            self._settling.settle(run, Failed(error))
            return False
        for want in wanted:
            wait_ms = await (self._book(run, want) if want.is_rate else self._take(run, want))
            if wait_ms:
                self.leave(run)
                await self.unbook(run)
                await self._park(run, wait_ms, want.note)
                return False
        return True

    async def _wanted(self, run: Run) -> list[Want]:
        """The limits of a run; raises whatever a key of the application raises."""
        own, function = run.settings.limits, run.genuine.function
        scopes = [(limit, f"{place}/{function}") for place, limit in enumerate(own)]
        scopes += [(limit, f"{place} {QUEUE}") for place, limit in enumerate(self._limits)]
        arguments = cast("tuple[list[Any], dict[str, Any]]", run.arguments)
        by_age_alone = self._ageing_ms > 0
        turn = b"" if by_age_alone else turn_of(run.settings.keying, self._queue_name, arguments)
        found: dict[bytes, Want] = {}
        for limit, scope in scopes:
            key = _key_of(limit, arguments)
            if limit.key is None or key is not None:
                name = digest_of(limit, scope, key)
                found[name] = Want(isinstance(limit, RateLimit), await self._gates.home(name), name, limit, turn)
        return sorted(found.values(), key=_order)

    async def _take(self, run: Run, want: Want) -> int:
        """Ask for a permit; 0 if *run* has it, else for how long it waits at the most."""
        gate, most = self._gates.at(want.home), want.limit.most
        who, token = name_of(run), run.claim.token
        ask = Ask(want.digest, who, token, most, self._rank_of(run), want.turn)
        place = await self._gates.surely(gate.permits.ask(ask))
        if place.called:
            gate.call(want.digest, most, place.called)
        if place.before is not None:
            return look_ms(place.before)
        run.permits = (*run.permits, Held(want.home, Holder(want.digest, who + b" " + token, most)))
        return 0

    async def _book(self, run: Run, want: Want) -> int:
        """Ask for a start; 0 if it is now, else when."""
        limit: RateLimit = want.limit
        booking = Booking(want.digest, name_of(run), run.claim.token, limit.most, limit.per_ms, self._rank_of(run))
        wait_ms = await self._gates.surely(self._gates.at(want.home).starts.ask(booking))
        if not wait_ms:
            held = Held(want.home, Holder(want.digest, name_of(run) + b" " + run.claim.token, limit.most))
            run.starts = (*run.starts, held)
        return wait_ms

    async def _is_laid_aside(self, run: Run) -> bool:
        if not await self._pauses.lay_aside(run):
            return False
        self._let_go(run, "shelved")
        if run.settings.limits or self._limits:
            await self._give_up_its_turns(run)
        return True

    async def _give_up_its_turns(self, run: Run) -> None:
        """Nobody is to wait for what was laid aside: not in a line, and not for a permit that was promised to it."""
        try:
            wanted = await self._wanted(run)
        except Exception:  # of a key of the application: it fails by that when it runs
            return
        for want in wanted:
            await withdraw(self._storages.at, run.partition, {run.claim.untrusted_id: want.note.encode()})
            if not want.is_rate:
                self._gates.at(want.home).leave([Holder(want.digest, name_of(run), want.limit.most)])

    async def _park(self, run: Run, wait_ms: int, note: str) -> None:
        claim = run.claim
        parked = Parked(claim.untrusted_id, claim.token, wait_ms, note)
        await self._outboxes[run.partition].park[claim.priority].ask(parked)
        self._let_go(run, "parked")

    def _let_go(self, run: Run, how: str) -> None:
        self._desk.counters[how] += 1
        self._desk.let_go(((run.claim.untrusted_id, run.claim.token),))

    def leave(self, run: Run) -> None:
        """Give the permits of a run back; at once, and in the background."""
        permits, run.permits = run.permits, ()
        for home, holder in permits:
            self._gates.at(home).leave([holder])

    async def unbook(self, run: Run) -> None:
        """Give back the starts of a run that does not begin."""
        starts, run.starts = run.starts, ()
        for home, holder in starts:
            try:
                await self._storages.at(home).unbook([holder])
            except SecureQueueError as error:  # it counts as used until its time is over
                _log.warning("a start of task %s could not be given back: %s", printable(run.genuine.task_id), error)

    async def stall(self, run: Run, ms: int) -> None:
        """Let nothing start within the limits on rate of a run for so long."""
        try:
            for want in await self._wanted(run):
                if want.is_rate:
                    await self._storages.at(want.home).stall(want.digest, ms)
        except Exception as error:  # a key is code of the application
            _log.warning("a limit of task %s cannot be held up now: %s", printable(run.genuine.task_id), error)

    def _rank_of(self, run: Run) -> Rank:
        number = self._ranks.get(run.claim.priority, len(self._ranks))
        return Rank(*rank_of(number, due_ms=run.genuine.not_before_ms, ageing_ms=self._ageing_ms))


def _order(want: Want) -> tuple[bool, int, int, bytes]:
    """Permits first, and of the rates the longest: the shorter ones refuse for a moment only."""
    return want.is_rate, -want.limit.per_ms if want.is_rate else 0, want.home, want.digest


def _key_of(limit: Limit, arguments: tuple[list[Any], dict[str, Any]]) -> object:
    return None if limit.key is None else limit.key(*arguments[0], **arguments[1])
