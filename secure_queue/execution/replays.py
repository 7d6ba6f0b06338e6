"""What becomes of a genuine task that has been finished already: it is not run again.

A signature cannot tell a repetition from the first time. Two markers can: the sealed result of this very message, and the
memory of this worker. What made us look is a hint that anybody could have written; what decides is sealed or our own.
"""

from __future__ import annotations

import logging

from secure_queue.clock import now_ms
from secure_queue.errors import Rejected, SecureQueueError
from secure_queue.execution.finished import Finished
from secure_queue.execution.refusal import Refusals
from secure_queue.execution.runs import Run
from secure_queue.execution.settling import Settling
from secure_queue.names import printable
from secure_queue.payload.codec import Codec, Opened, Purpose
from secure_queue.storage import End, Standing, Storages

PAUSE_MS = 500

_audit_log = logging.getLogger("secure_queue.audit")


class Replays:
    """Looks for the end of a task that a worker is about to begin."""

    def __init__(
        self, storages: Storages, codec: Codec, settling: Settling, refusals: Refusals, finished: Finished
    ) -> None:
        self._storages = storages
        self._codec = codec
        self._settling = settling
        self._refusals = refusals
        self.finished = finished

    async def settle(self, run: Run, opened: Opened) -> bool:
        """Settle *run* without running it if its task has been finished; False if it has not.

        To be asked if there is a sign of that: the hint of its claim, or that its message is among the finished ones.
        """
        try:
            return await self._was_answered(run, opened) or self._was_finished_here(run, opened)
        except SecureQueueError as error:
            _audit_log.warning("whether task %s was finished cannot be told now: %s", printable(opened.task_id), error)
            self._settling.hand_back(run, after_ms=PAUSE_MS)
            return True

    async def _was_answered(self, run: Run, opened: Opened) -> bool:
        if not run.claim.may_be_answered:
            return False
        record = await self._storages.at(run.partition).look_up(run.claim.untrusted_id)
        if self._is_its_answer(opened, record.untrusted_death):
            self._bury_again(run, record.untrusted_death)
        elif record.standing is not Standing.DEAD and self._is_its_answer(opened, record.untrusted_result):
            self._refusals.refuse(run, "duplicate")
        else:
            return False
        return True

    def _is_its_answer(self, opened: Opened, untrusted: bytes | int | None) -> bool:
        """Whether this is the genuine word of how this very message ended."""
        try:
            self._codec.verify(
                untrusted,  # type: ignore[arg-type]  # what is not bytes is rejected
                Purpose.RESULT,
                opened.task_id,
                now_ms=now_ms(),
                function=opened.function,
                ref=opened.jti,
            )
        except Rejected:
            return False
        return True

    def _bury_again(self, run: Run, untrusted_death: bytes | int | None) -> None:
        """A dead letter was put into the queue by somebody without a key: it stays the dead letter that it was."""
        if isinstance(untrusted_death, bytes):
            _audit_log.error("the dead letter %s was put into the queue again; it is not run", run.genuine.task_id)
            end = End(run.claim.untrusted_id, run.claim.token, untrusted_death, untrusted_death)
            self._settling.repeat(run, end, dead=True)

    def _was_finished_here(self, run: Run, opened: Opened) -> bool:
        if not self.finished.knows(opened.jti):
            return False
        end = self.finished.end_of(opened.jti)
        if end is None:
            self._refusals.refuse(run, "duplicate")
            return True
        _audit_log.error(
            "task %s came again after its end here; it is not run, its first result stands", opened.task_id
        )
        self._settling.repeat(run, end._replace(token=run.claim.token), dead=False)
        return True
