"""Lets one run of a key go on at a time (``unique=True``): one that gets its turn while another runs fails at once.

Who runs in one partition follows from the leases, so nothing has to be let go, and the seat of a worker that died is free
with its lease. Over several partitions a permit says it, which is kept in one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from secure_queue.errors import SecureQueueError
from secure_queue.execution.runs import Run
from secure_queue.execution.settling import Settling
from secure_queue.keying import seat_of
from secure_queue.names import printable
from secure_queue.payload.failures import Failure
from secure_queue.settings import QueueSettings
from secure_queue.storage import Storages

PAUSE_MS: Final = 500

_log = logging.getLogger("secure_queue.worker")


class Alone:
    """One object serves all seats of a worker. *take_seat* asks for what counts in all partitions."""

    def __init__(
        self,
        storages: Storages,
        settling: Settling,
        queue: QueueSettings,
        take_seat: Callable[[Run, bytes], Awaitable[bool]],
    ) -> None:
        self._storages = storages
        self._take_seat = take_seat
        self._settling = settling
        self._queue_name = queue.queue_name

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
            other = await self._storages.at(run.partition).enter(claim.untrusted_id, claim.token, seat)
            if other is None and not await self._take_seat(run, seat):
                other = b""
        except SecureQueueError as error:
            _log.warning("whether task %s runs alone cannot be asked now: %s", printable(run.genuine.task_id), error)
            self._settling.hand_back(run, after_ms=PAUSE_MS)
            return False
        if other == claim.untrusted_id:
            self._settling.let_go(run)
        elif other is not None:
            self._settling.fail(run, _taken(function, other))
        return other is None


def _taken(function: str, untrusted_other: bytes) -> Failure:
    other = f"task {printable(untrusted_other)}" if untrusted_other else "another one"
    return Failure(
        "secure_queue.NotUnique",
        f"{other} runs already, and of {printable(function)!r} one runs at a time (unique=True)",
    )
