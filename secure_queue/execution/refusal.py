"""What becomes of a claimed payload that does not open: it is put aside with its reason."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping

from secure_queue import names
from secure_queue.clock import monotonic
from secure_queue.errors import SecureQueueError
from secure_queue.execution.journal import Journal
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import Desk, Run
from secure_queue.storage import UNKNOWN, Claim, Refused

LINE_S = 1.0

_audit_log = logging.getLogger("secure_queue.audit")


class Refusals:
    """Puts rejected payloads aside; a seat calls this and then goes on with the next task."""

    def __init__(self, outboxes: Mapping[int, Outbox], desk: Desk, journal: Journal) -> None:
        self._outboxes = outboxes
        self._desk = desk
        self._journal = journal
        self._lines = _Lines()

    async def refuse(self, run: Run, reason: str) -> None:
        """Move the payload of *run* to quarantine; if the server is away, its lease runs out and it comes again."""
        claim = run.claim
        try:
            reason = _sharpened(claim, reason)
            if reason == "missing-payload" and await self._is_surplus(run):
                return
            token = b"" if claim.untrusted is None else claim.token
            digest = hashlib.sha256(claim.untrusted).hexdigest() if isinstance(claim.untrusted, bytes) else ""
            moved = await self._outboxes[run.partition].refuse.ask(Refused(claim.untrusted_id, token, reason, digest))
        except SecureQueueError as error:
            _audit_log.error("a payload could not be put aside now: %s", error)
            return
        finally:
            self._desk.let_go(((claim.untrusted_id, claim.token),))
        if moved:
            self._desk.counters["quarantined"] += 1
            task_id = names.printable(claim.untrusted_id)
            self._lines.say(task_id, reason)
            self._journal.note("quarantined", id=claim.untrusted_id, reason=reason, size=_size(claim), sha256=digest)

    async def _is_surplus(self, run: Run) -> bool:
        """Whether this is a second entry of a task that has finished meanwhile: then there is word of its end."""
        return await self._outboxes[run.partition].look.ask(run.claim.untrusted_id) is not UNKNOWN


class _Lines:
    """One line of the log a second for each reason, so that a flood does not fill it; the others are counted.

    The audit log has them all.
    """

    def __init__(self) -> None:
        self._said: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def say(self, task_id: str, reason: str) -> None:
        now = monotonic()
        if now - self._said.get(reason, now - LINE_S) < LINE_S:
            self._unsaid[reason] += 1
            return
        self._said[reason] = now
        more = f" ({self._unsaid.pop(reason)} more since the last line)" if self._unsaid[reason] else ""
        _audit_log.error("payload of task %s was put aside: %s%s", task_id, reason, more)


def _size(claim: Claim) -> int:
    untrusted = claim.untrusted
    return untrusted if isinstance(untrusted, int) else len(untrusted or b"")


def _sharpened(claim: Claim, reason: str) -> str:
    if claim.untrusted is None:
        return "missing-payload"
    return "too-large" if isinstance(claim.untrusted, int) else reason
