"""What becomes of a claimed payload that does not open: quarantine, or the plain end of a task that came too late."""

from __future__ import annotations

import logging

from secure_queue import names
from secure_queue.clock import now_ms
from secure_queue.errors import SecureQueueError
from secure_queue.execution.runs import Desk, Run
from secure_queue.payload.codec import Codec, Purpose, Sealed
from secure_queue.payload.envelope import parse_envelope
from secure_queue.storage import UNKNOWN, Claim, Storage

_audit_log = logging.getLogger("secure_queue.audit")


class Refusals:
    """Puts rejected payloads aside; a seat calls this and then goes on with the next task."""

    def __init__(self, storage: Storage, codec: Codec, desk: Desk) -> None:
        self._storage = storage
        self._codec = codec
        self._desk = desk

    async def refuse(self, run: Run, reason: str) -> None:
        """Move the payload of *run* to quarantine; if the server is away, its lease runs out and it comes again."""
        claim = run.claim
        try:
            reason = _sharpened(claim, reason)
            if reason == "missing-payload" and await self._is_ghost(claim.untrusted_id):
                return
            token = b"" if claim.untrusted is None else claim.token
            await self._storage.quarantine(claim.untrusted_id, token, reason)
        except SecureQueueError as error:
            _audit_log.error("a payload could not be put aside now: %s", error)
            return
        finally:
            self._desk.let_go(((claim.untrusted_id, claim.token),))
        self._desk.counters["quarantined"] += 1
        _audit_log.error("payload of task %s was put aside: %s", names.printable(claim.untrusted_id), reason)

    async def _is_ghost(self, untrusted_id: bytes) -> bool:
        """Whether the entry was left behind by a task that was aborted while it waited: then it has a result."""
        return (await self._storage.watch("nobody", [untrusted_id]))[0] is not UNKNOWN

    def expired(self, claim: Claim) -> Sealed:
        """The genuine task of a claim that was rejected as expired: verified as of the moment when it expired.

        Raises ``Rejected`` if it is not genuine.
        """
        untrusted_moment = parse_envelope(claim.untrusted).expires_ms or now_ms()
        task_id = claim.untrusted_id.decode("ascii")
        return self._codec.verify(claim.untrusted, Purpose.TASK, task_id, now_ms=untrusted_moment)  # type: ignore[arg-type]  # parse_envelope took it, so it is bytes


def _sharpened(claim: Claim, reason: str) -> str:
    if claim.untrusted is None:
        return "missing-payload"
    return "too-large" if isinstance(claim.untrusted, int) else reason
