"""Lets one run of a key go on at a time (``unique=True``): one that gets its turn while another runs fails at once.

A seat is kept in one partition, and one script decides who has it. A run of that partition holds it as long as its lease, so
nothing has to be let go, and the seat of a worker that died is free with its lease. The lease of a run of another partition
cannot be seen from there: it holds the seat by a permit.
"""

from __future__ import annotations

import logging
from typing import Any, Final, cast

from secure_queue.errors import SecureQueueError
from secure_queue.execution.gates import Gates, name_of
from secure_queue.execution.runs import Held, Run
from secure_queue.execution.settling import Settling
from secure_queue.keying import seat_of
from secure_queue.limiting import Holder
from secure_queue.names import printable
from secure_queue.payload.failures import Failure
from secure_queue.settings import QueueSettings, WorkerSettings
from secure_queue.storage import Storages

PAUSE_MS: Final = 500
SEAT: Final = b"seat"
"""In the place of a lease token: who lost the lease and runs again finds that the seat is taken by itself."""

_log = logging.getLogger("secure_queue.worker")


class Alone:
    """One object serves all seats of a worker."""

    def __init__(
        self, storages: Storages, gates: Gates, settling: Settling, queue: QueueSettings, settings: WorkerSettings
    ) -> None:
        self._storages = storages
        self._gates = gates
        self._settling = settling
        self._queue_name = queue.queue_name
        self._lease_ms = round(settings.idle_timeout_s * 1000)

    async def may_run(self, run: Run) -> bool:
        """Whether no other one of the key runs; False says that this one is settled."""
        claim, function = run.claim, run.genuine.function
        args, kwargs = cast("tuple[list[Any], dict[str, Any]]", run.arguments)
        try:
            seat = seat_of(run.settings.keying, self._queue_name, function, args, kwargs)
        except Exception as error:  # of the application's choice of a key
            self._settling.fail_of(run, error)
            return False
        try:
            other = await self._enter(run, seat)
        except SecureQueueError as error:
            _log.warning("whether task %s runs alone cannot be asked now: %s", printable(run.genuine.task_id), error)
            self._settling.hand_back(run, after_ms=PAUSE_MS)
            return False
        if other == claim.untrusted_id:
            self._settling.let_go(run)
        elif other is not None:
            self._settling.fail(run, _taken(function, other))
        return other is None

    async def _enter(self, run: Run, seat: bytes) -> bytes | None:
        home = await self._gates.home(seat)
        storage = self._storages.at(home)
        if home == run.partition:
            return await storage.enter(run.claim.untrusted_id, run.claim.token, seat)
        holder = Holder(seat, name_of(run) + b" " + SEAT, 1)
        other = await self._gates.surely(storage.enter_by_permit(seat, holder.holder, self._lease_ms))
        if other is None:
            run.permits = (*run.permits, Held(home, holder))
        return other


def _taken(function: str, untrusted_other: bytes) -> Failure:
    return Failure(
        "secure_queue.NotUnique",
        f"task {printable(untrusted_other)} runs already, and of {printable(function)!r} one runs at a time (unique=True)",
    )
