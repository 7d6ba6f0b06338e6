"""What becomes of a claimed payload that does not open: it is put aside with its reason."""

from __future__ import annotations

import hashlib
import logging

from secure_queue import names
from secure_queue.errors import SecureQueueError
from secure_queue.execution.runs import Desk, Run
from secure_queue.storage import UNKNOWN, Claim, Storages

_audit_log = logging.getLogger("secure_queue.audit")


class Refusals:
    """Puts rejected payloads aside; a seat calls this and then goes on with the next task."""

    def __init__(self, storages: Storages, desk: Desk) -> None:
        self._storages = storages
        self._desk = desk

    async def refuse(self, run: Run, reason: str) -> None:
        """Move the payload of *run* to quarantine; if the server is away, its lease runs out and it comes again."""
        claim = run.claim
        try:
            reason = _sharpened(claim, reason)
            if reason == "missing-payload" and await self._is_surplus(run):
                return
            token = b"" if claim.untrusted is None else claim.token
            digest = hashlib.sha256(claim.untrusted).hexdigest() if isinstance(claim.untrusted, bytes) else ""
            moved = await self._storages.at(run.partition).quarantine(claim.untrusted_id, token, reason, digest)
        except SecureQueueError as error:
            _audit_log.error("a payload could not be put aside now: %s", error)
            return
        finally:
            self._desk.let_go(((claim.untrusted_id, claim.token),))
        if moved:
            self._desk.counters["quarantined"] += 1
            _audit_log.error("payload of task %s was put aside: %s", names.printable(claim.untrusted_id), reason)

    async def _is_surplus(self, run: Run) -> bool:
        """Whether this is a second entry of a task that has finished meanwhile: then there is word of its end."""
        [found] = await self._storages.at(run.partition).watch("nobody", [run.claim.untrusted_id])
        return found is not UNKNOWN


def _sharpened(claim: Claim, reason: str) -> str:
    if claim.untrusted is None:
        return "missing-payload"
    return "too-large" if isinstance(claim.untrusted, int) else reason
