"""What becomes of a claimed payload that does not open: it is put aside with its reason."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress

from secure_queue import names
from secure_queue.clock import monotonic
from secure_queue.execution.journal import Journal
from secure_queue.execution.outbox import Flags, Outbox
from secure_queue.execution.runs import Desk, Run
from secure_queue.storage import Claim, Refused

LINE_S = 1.0

_audit_log = logging.getLogger("secure_queue.audit")


class Refusals:
    """Has rejected payloads put aside, and says which were; a seat does not wait for that."""

    def __init__(self, outboxes: Mapping[int, Outbox], desk: Desk, journal: Journal) -> None:
        self._outboxes = outboxes
        self._desk = desk
        self._journal = journal
        self._lines = _Lines()

    def refuse(self, run: Run, reason: str) -> None:
        """Have the payload of *run* moved to quarantine; if the server is away, its lease runs out and it comes again."""
        self._outboxes[run.partition].refuse.add(_case(run.claim, reason))

    def remember(self, cases: Sequence[Refused], _: object, moved: Flags) -> None:
        """Say which of *cases* have been put aside."""
        for case in compress(cases, moved):
            self._desk.counters["quarantined"] += 1
            self._lines.say(names.printable(case.task_id), case.reason)
            self._journal.note("quarantined", id=case.task_id, reason=case.reason, size=case.size, sha256=case.sha256)


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


def _case(claim: Claim, reason: str) -> Refused:
    """What is put aside; of a payload that is too large only its size is known here."""
    untrusted = claim.untrusted
    if untrusted is None:
        return Refused(claim.untrusted_id, b"", "missing-payload")
    if isinstance(untrusted, int):
        return Refused(claim.untrusted_id, claim.token, "too-large", size=untrusted)
    digest = hashlib.sha256(untrusted).hexdigest()
    return Refused(claim.untrusted_id, claim.token, reason, digest, len(untrusted))
