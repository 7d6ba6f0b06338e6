"""The gates of all partitions: where a limit is kept, and who comes next when permits of it are given back.

Whoever ends a run brings the next one, so nobody has to ask again and again: a task that lies where the limit is kept runs
here at once, if there is a seat for it, and others are called to the front of their queue.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import anyio
from anyio.abc import TaskGroup

from secure_queue.errors import Unavailable
from secure_queue.execution.gate import Gate
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.settling import Settling
from secure_queue.limiting import Holder, Taking
from secure_queue.partitions import home_of
from secure_queue.settings import WorkerSettings
from secure_queue.storage import Claim, Storages

Answer = TypeVar("Answer")

CLOSING_S: Final = 2.0


class Gates:
    """One object serves all seats of a worker."""

    def __init__(
        self,
        storages: Storages,
        outboxes: Mapping[int, Outbox],
        desk: Desk,
        settling: Settling,
        settings: WorkerSettings,
    ) -> None:
        self._storages = storages
        self._outboxes = outboxes
        self._desk = desk
        self._settling = settling
        self._lease_ms = round(settings.idle_timeout_s * 1000)
        self._name = f"{settings.worker_id}.{os.urandom(4).hex()}"  # ids may come again, even at the same time
        self._takings = 0
        self._closed = False
        self._asking: set[anyio.CancelScope] = set()
        self._gates: dict[int, Gate] = {}
        self.key_partitions: int | None = None
        """Over how many partitions limits are spread; known before the first task comes, it keeps all of them in order."""
        self._group: TaskGroup

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """The background work, for ever."""
        async with anyio.create_task_group() as self._group:
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

    def at(self, home: int) -> Gate:
        """The gate of one partition, which is at work from the first time on."""
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

    async def home(self, digest: bytes) -> int:
        """Where a limit is kept; all workers find the same answer."""
        if self.key_partitions is None:
            self.key_partitions = (await self._storages.at(0).register(0, None)).key_partitions
        return home_of(digest, self.key_partitions)

    async def surely(self, question: Awaitable[Answer]) -> Answer:
        """The answer, also if this is cancelled meanwhile: what was given to nobody would be missing until a lease ends."""
        with anyio.CancelScope(shield=True) as scope:
            self._asking.add(scope)
            try:
                return await question
            finally:
                self._asking.discard(scope)
        raise Unavailable("the worker stops, and the limit has not answered")

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
        self._takings += 1
        token = b"%s.%x" % (self._name.encode(), self._takings)
        return Taking(self._name, token, max(0, int(most)) if may_take else 0, self._lease_ms)

    def _take_in(self, home: int, claims: Sequence[Claim]) -> None:
        self._desk.changes += 1  # there is something new to claim, or somebody else is to be called
        runs = [Run(claim, home) for claim in claims]
        if not self._closed:
            self._desk.add_in_front(runs)
            return
        for run in runs:
            self._settling.hand_back(run)


def name_of(run: Run) -> bytes:
    """How a run is called in lines and among the holders of permits."""
    return b"%d %s" % (run.partition, run.claim.untrusted_id)
