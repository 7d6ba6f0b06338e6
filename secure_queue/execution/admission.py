"""Decides whether a task may run now by the limits on it, its pause, and those of the whole queue.

A task that may not is given back without using a try: it is laid aside until the end of its pause, or stands in the line of
the limit that it waits for. Whoever ends a run brings the next one, so nobody has to ask again and again; a look of its own,
seldom, is what remains if that worker dies in between. Permits are asked for in a fixed order, and nothing is held while a
task waits.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from secure_queue.errors import SecureQueueError, Unavailable
from secure_queue.execution.gate import Gate
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.pauses import Pauses
from secure_queue.execution.runs import Desk, Held, Run
from secure_queue.execution.settling import Settling
from secure_queue.execution.verdict import Failed
from secure_queue.keying import turn_of
from secure_queue.limiting import Ask, Booking, Holder, Parked, Rank, Taking
from secure_queue.limits import Limit, RateLimit, digest_of, look_ms, rank_of
from secure_queue.names import printable
from secure_queue.notes import Wait, withdraw
from secure_queue.partitions import home_of
from secure_queue.settings import QueueSettings, WorkerSettings
from secure_queue.storage import Claim, Storages

Answer = TypeVar("Answer")

FIRST_LOOK_S: Final = 1.0
CLOSING_S: Final = 2.0
PAUSE_MS: Final = 500
SEAT: Final = b"seat"
"""In the place of a lease token: who lost the lease and runs again finds that the seat is taken by itself."""
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
        desk: Desk,
        settling: Settling,
        queue: QueueSettings,
        settings: WorkerSettings,
    ) -> None:
        self._storages = storages
        self._outboxes = outboxes
        self._desk = desk
        self._settling = settling
        self._ranks = {name: rank for rank, name in enumerate(queue.priorities)}
        self._ageing_ms, self._queue_name = queue.ageing_ms, queue.queue_name
        self._limits = settings.limits
        self._name = f"{settings.worker_id}.{os.urandom(4).hex()}"  # ids may come again, even at the same time
        self._calls = 0
        self._closed = False
        self._asking: set[anyio.CancelScope] = set()
        self._lease_ms = round(settings.idle_timeout_s * 1000)
        self._gates: dict[int, Gate] = {}
        self._pauses = Pauses(storages, outboxes, queue.partitions)
        self._key_partitions: int | None = None
        self._group: TaskGroup
        self.watches = bool(self._limits)
        """Whether there may be something in the way of tasks that have no limits of their own."""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """The background work, for ever; begun when it is known what is paused, if the server tells it in time."""
        async with anyio.create_task_group() as self._group:
            with anyio.move_on_after(FIRST_LOOK_S):
                try:
                    await self.look()
                except SecureQueueError as error:
                    _log.warning("it cannot be read now what is paused: %s", error)
            task_status.started()
            await anyio.sleep_forever()

    async def close(self) -> None:
        """Take no more tasks; what was to come has come when this returns, if the server answers in time."""
        self._closed = True
        for scope in self._asking:
            scope.deadline = anyio.current_time() + CLOSING_S
        with anyio.move_on_after(CLOSING_S):
            for gate in list(self._gates.values()):
                await gate.until_told()

    async def drain(self) -> None:
        """Give back all permits that are left."""
        for gate in list(self._gates.values()):
            await gate.drain()

    @property
    def at_rest(self) -> bool:
        """Whether no permit is on its way back or to the next one."""
        return all(gate.at_rest for gate in self._gates.values())

    async def look(self) -> None:
        """Learn what is paused; to be called now and then."""
        await self._pauses.look()
        self.watches = bool(self._limits or self._pauses.names)

    # Admission

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
        turn = (
            b"" if self._ageing_ms else turn_of(run.settings.keying, self._queue_name, arguments)
        )  # else by age alone
        found: dict[bytes, Want] = {}
        for limit, scope in scopes:
            key = _key_of(limit, arguments)
            if limit.key is None or key is not None:
                name = digest_of(limit, scope, key)
                found[name] = Want(isinstance(limit, RateLimit), await self._home(name), name, limit, turn)
        return sorted(found.values(), key=_order)

    async def _take(self, run: Run, want: Want) -> int:
        """Ask for a permit; 0 if *run* has it, else for how long it waits at the most."""
        gate, most = self._gate(want.home), want.limit.most
        who, token = _name_of(run), run.claim.token
        place = await self._surely(gate.permits.ask(Ask(want.digest, who, token, most, self._rank_of(run), want.turn)))
        if place.called:
            gate.call(want.digest, most, place.called)
        if place.before is not None:
            return look_ms(place.before)
        run.permits = (*run.permits, Held(want.home, Holder(want.digest, who + b" " + token, most)))
        return 0

    async def take_seat(self, run: Run, digest: bytes) -> bool:
        """Whether *run* has the seat of that name, of which there is one in all partitions; it does not wait for it."""
        if len(self._outboxes) == 1:
            return True  # that of the partition is the only one
        home, who = await self._home(digest), _name_of(run)
        place = await self._surely(self._gate(home).permits.ask(Ask(digest, who, SEAT, 1, self._rank_of(run))))
        if place.before is None:
            run.permits = (*run.permits, Held(home, Holder(digest, who + b" " + SEAT, 1)))
            return True
        await self._storages.at(home).withdraw([Holder(digest, who, 1)])
        self._gate(home).leave([Holder(digest, who, 1)])  # if it was promised meanwhile
        return False

    async def _book(self, run: Run, want: Want) -> int:
        """Ask for a start; 0 if it is now, else when."""
        limit: RateLimit = want.limit
        booking = Booking(want.digest, _name_of(run), run.claim.token, limit.most, limit.per_ms, self._rank_of(run))
        wait_ms = await self._surely(self._gate(want.home).starts.ask(booking))
        if not wait_ms:
            held = Held(want.home, Holder(want.digest, _name_of(run) + b" " + run.claim.token, limit.most))
            run.starts = (*run.starts, held)
        return wait_ms

    async def _surely(self, question: Awaitable[Answer]) -> Answer:
        """The answer, also if this is cancelled meanwhile: what was given to nobody would be missing until a lease ends."""
        with anyio.CancelScope(shield=True) as scope:
            self._asking.add(scope)
            try:
                return await question
            finally:
                self._asking.discard(scope)
        raise Unavailable("the worker stops, and the limit has not answered")

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
                self._gate(want.home).leave([Holder(want.digest, _name_of(run), want.limit.most)])

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
            self._gate(home).leave([holder])

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

    # Where things are

    def _gate(self, home: int) -> Gate:
        gate = self._gates.get(home)
        if gate is None:
            gate = self._gates[home] = Gate(
                self._storages.at(home),
                self._lease_ms,
                self._hurry,
                partial(self._taking, home),
                partial(self._take_in, home),
            )
            self._group.start_soon(gate.run)
        return gate

    async def _home(self, name: bytes) -> int:
        """Where a limit is kept; all workers find the same answer."""
        if self._key_partitions is None:
            self._key_partitions = (await self._storages.at(0).register(0, None)).key_partitions
        return home_of(name, self._key_partitions)

    def _rank_of(self, run: Run) -> Rank:
        number = self._ranks.get(run.claim.priority, len(self._ranks))
        return Rank(*rank_of(number, due_ms=run.genuine.not_before_ms, ageing_ms=self._ageing_ms))

    async def _hurry(self, called: Sequence[Holder]) -> list[Holder]:
        """Bring the tasks of these names; the others are not stored any more."""
        by_partition: dict[int, list[Holder]] = defaultdict(list)
        for holder in called:
            number, _, task_id = holder.holder.partition(b" ")
            if number.isdigit() and task_id:
                by_partition[int(number)].append(holder)
        gone: list[Holder] = []
        for partition, holders in by_partition.items():
            if partition in self._outboxes:
                ids = [holder.holder.partition(b" ")[2] for holder in holders]
                came = await self._storages.at(partition).hurry(ids)
                gone += [holder for holder, flag in zip(holders, came, strict=True) if not flag]
        return gone

    def _taking(self, home: int, seats: int) -> Taking:
        """The *seats* of runs that have ended go to tasks that wait for one already, then to those whose turn it is."""
        desk = self._desk
        most = min(seats - desk.waiting, desk.may_take)
        may_take = home in self._outboxes and desk.share is None and not self._closed
        self._calls += 1
        token = b"%s.%x" % (self._name.encode(), self._calls)
        return Taking(self._name, token, max(0, int(most)) if may_take else 0, self._lease_ms)

    def _take_in(self, home: int, claims: Sequence[Claim]) -> None:
        self._desk.changes += 1  # there is something new to claim, or somebody else is to be called
        runs = [Run(claim, home) for claim in claims]
        if not self._closed:
            self._desk.add_in_front(runs)
            return
        for run in runs:
            self._settling.hand_back(run)


def _order(want: Want) -> tuple[bool, int, int, bytes]:
    """Permits first, and of the rates the longest: the shorter ones refuse for a moment only."""
    return want.is_rate, -want.limit.per_ms if want.is_rate else 0, want.home, want.digest


def _name_of(run: Run) -> bytes:
    """How a run is called in lines and among the holders of permits."""
    return b"%d %s" % (run.partition, run.claim.untrusted_id)


def _key_of(limit: Limit, arguments: tuple[list[Any], dict[str, Any]]) -> object:
    return None if limit.key is None else limit.key(*arguments[0], **arguments[1])
