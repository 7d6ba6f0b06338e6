"""Says of one stored payload what it is: genuine and in its place, or what is wrong with it. Deserializes nothing.

Pure: bytes, keys and the time come in, a ``Finding`` comes out. The steps are those of the reader itself
(``Codec.verify``), so that an audit and a worker cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from secure_queue import names
from secure_queue.audit.findings import Code, Finding, Kind, Severity, severity_of
from secure_queue.errors import Rejected
from secure_queue.payload.codec import Codec, Limits, Purpose, Sealed
from secure_queue.payload.envelope import MAGIC, Parsed, parse_envelope
from secure_queue.payload.keys import KeyRing
from secure_queue.payload.restricted_pickle import PickleReport, RestrictedPickle, scan_pickle
from secure_queue.payload.serializers import CALLABLE_ID, JSON_ID, MSGPACK_ID, PICKLE_ID, Serializer

_PURPOSES: Final = {
    Kind.TASK: Purpose.TASK,
    Kind.RESULT: Purpose.RESULT,
    Kind.DEATH: Purpose.RESULT,
    Kind.ABORT_MARK: Purpose.CONTROL,
    Kind.PRESENCE: Purpose.STATE,
    Kind.PART: Purpose.STATE,
    Kind.SCHEDULE: Purpose.SCHEDULE,
    Kind.HANDOVER: Purpose.RESULT,
    Kind.WORKFLOW: Purpose.STATE,
    Kind.QUARANTINED: Purpose.TASK,
}
_CODES: Final = {
    "expired": Code.EXPIRED,
    "bad-signature": Code.BAD_SIGNATURE,
    "unknown-key": Code.UNKNOWN_KEY,
    "revoked-key": Code.REVOKED_KEY,
    "wrong-queue": Code.MOVED,
    "wrong-task": Code.MOVED,
    "wrong-purpose": Code.MOVED,
    "from-the-future": Code.FROM_THE_FUTURE,
    "no-expiry-not-allowed": Code.NO_EXPIRY,
    "too-large": Code.OVERSIZED,
    "not-an-envelope": Code.UNSIGNED,
}
_SERIALIZERS: Final = {MSGPACK_ID: "msgpack", PICKLE_ID: "pickle", JSON_ID: "json", CALLABLE_ID: "callable"}
_PURPOSE_NAMES: Final = {int(purpose): purpose.name.lower() for purpose in Purpose}
_PICKLE_STARTS: Final = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_NO_EXPIRY_MS: Final = -1
_NAMES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes and where they were found; ``untrusted`` is the size alone if they are too large to be read.

    ``ttl_ms`` is that of a key of its own: -1 if it stays for ever, None where the place has no expiry.
    """

    kind: Kind
    untrusted_id: bytes
    untrusted: bytes | int
    ttl_ms: int | None = None


class Classifier:
    """Classifies the payloads of one queue with one ring of keys."""

    def __init__(self, ring: KeyRing, queue: str, serializer: Serializer, limits: Limits | None = None) -> None:
        self.ring = ring
        self.queue = queue
        self.limits = limits or Limits()
        self._codec = Codec(ring, queue, serializer, self.limits)
        self._allowed_ids = {MSGPACK_ID, serializer.id}
        self._serializers = _SERIALIZERS | {serializer.id: names.printable(serializer.name, 40)}
        self._pickle_names = serializer.allowed_names if isinstance(serializer, RestrictedPickle) else frozenset()

    def classify(self, stored: Stored, *, now_ms: int) -> Finding:
        """What is stored there; never raises, and never turns a value into an object."""
        parsed, why_not = self._parse(stored.untrusted)
        task_id = names.stored_task_id(stored.untrusted_id)
        if parsed is None:
            code, detail = self._unreadable(stored.untrusted, why_not)
        elif task_id is None:
            code, detail = Code.BAD_ID, "nothing can be stored under such an id"
        else:
            code, detail = self._verdict(stored, parsed, task_id, now_ms)
        finding = self._finding(stored, code, detail)
        return finding if parsed is None else self._with_claims(finding, parsed)

    def answers(
        self, task_id: bytes, untrusted_task: bytes | int, untrusted_result: bytes | int, *, now_ms: int
    ) -> bool:
        """Whether both are genuine and the result is that of this very message, which then has been finished before."""
        name = names.stored_task_id(task_id)
        if name is None or isinstance(untrusted_task, int) or isinstance(untrusted_result, int):
            return False
        try:
            task = self._codec.verify_late(untrusted_task, Purpose.TASK, name, now_ms=now_ms)
            self._codec.verify(untrusted_result, Purpose.RESULT, name, now_ms=now_ms, ref=task.jti)
        except Rejected:
            return False
        return True

    def put_aside(self, stored: Stored, *, reason: bytes, whole_size: int, now_ms: int) -> Finding:
        """What an entry of the quarantine is now; it does no harm there, so it is never worse than a warning."""
        cut = isinstance(stored.untrusted, bytes) and whole_size > len(stored.untrusted)
        found = self.classify(replace(stored, untrusted=whole_size) if cut else stored, now_ms=now_ms)
        if stored.untrusted == b"" and reason == b"missing-payload":
            found = replace(found, code=Code.ORPHAN_ID, detail="an entry without a task")
        detail = f"put aside as {names.printable(reason, 40)}"
        if found.code is Code.VALID:
            return replace(found, severity=Severity.NOTICE, detail=f"{detail}; it would be accepted now")
        return replace(found, severity=Severity.WARNING, detail=f"{detail}; {found.detail}" if found.detail else detail)

    def _parse(self, untrusted: bytes | int) -> tuple[Parsed | None, str]:
        if isinstance(untrusted, int):
            return None, "too-large"
        try:
            return parse_envelope(untrusted, max_bytes=self.limits.stored_bytes), ""
        except Rejected as error:
            return None, error.reason

    def _unreadable(self, untrusted: bytes | int, reason: str) -> tuple[Code, str]:
        if isinstance(untrusted, bytes) and reason != "too-large":
            if not untrusted.startswith(MAGIC):
                return Code.UNSIGNED, _looks_like(untrusted)
            return Code.MALFORMED, reason
        return Code.OVERSIZED, f"the limit is {self.limits.stored_bytes} bytes"

    def _verdict(self, stored: Stored, parsed: Parsed, task_id: str, now_ms: int) -> tuple[Code, str]:
        purpose = _PURPOSES[stored.kind]
        try:
            sealed = self._codec.verify(stored.untrusted, purpose, task_id, now_ms=now_ms)  # type: ignore[arg-type]  # parse_envelope took it, so it is bytes
        except Rejected as error:
            return self._refused(error.reason, parsed, task_id, purpose)
        code, detail = self._judge_value(sealed)
        if code is Code.VALID and stored.ttl_ms == _NO_EXPIRY_MS and sealed.expires_ms is not None:
            return Code.NO_EXPIRY, "the key stays for ever, the payload was sealed for a time"
        return code, detail

    def _refused(self, reason: str, parsed: Parsed, task_id: str, purpose: Purpose) -> tuple[Code, str]:
        code = _CODES.get(reason, Code.MALFORMED)
        if code is Code.MOVED:
            return code, self._whence(reason, parsed, task_id, purpose)
        return code, "" if reason == code else reason

    def _whence(self, reason: str, parsed: Parsed, task_id: str, purpose: Purpose) -> str:
        """Both names of a moved payload, whose signature is right."""
        sealed_as = _PURPOSE_NAMES.get(parsed.purpose, f"purpose {parsed.purpose}")
        queue, sealed_id = names.printable(parsed.queue, 64), names.printable(parsed.task_id)
        return (
            f"{reason}: sealed as {sealed_as} {sealed_id} of queue {queue}, "
            f"found as {purpose.name.lower()} {task_id} of queue {self.queue}"
        )

    def _judge_value(self, sealed: Sealed) -> tuple[Code, str]:
        if sealed.serializer_id == PICKLE_ID:
            report = scan_pickle(sealed.value, self._pickle_names)
            if not report.ok:
                return Code.DANGEROUS_PICKLE, _pickle_detail(report)
        if sealed.serializer_id not in self._allowed_ids:
            return Code.WRONG_SERIALIZER, "no reader of this queue uses this serializer"
        return Code.VALID, ""

    def _finding(self, stored: Stored, code: Code, detail: str) -> Finding:
        known = isinstance(stored.untrusted, bytes)
        return Finding(
            code,
            severity_of(code),
            stored.kind,
            names.printable(stored.untrusted_id),
            detail=detail,
            size=len(stored.untrusted) if isinstance(stored.untrusted, bytes) else stored.untrusted,
            sha256=sha256(stored.untrusted).hexdigest() if known else "",  # type: ignore[arg-type]
        )

    def _with_claims(self, finding: Finding, parsed: Parsed) -> Finding:
        """What the envelope says of itself."""
        key = self.ring.find(parsed.key_id)
        return replace(
            finding,
            key_name=key.name if key else "",
            key_id=parsed.key_id.hex(),
            serializer=self._serializers.get(parsed.serializer_id, f"id {parsed.serializer_id}"),
            function=names.printable(parsed.function),
            issued_ms=parsed.issued_ms,
            expires_ms=parsed.expires_ms,
        )


def _looks_like(untrusted: bytes) -> str:
    """What unsigned bytes seem to be: nobody loads them, but a pickle that names code is an attack and not a mistake."""
    if not untrusted:
        return "no bytes at all"
    if not untrusted.startswith(_PICKLE_STARTS):
        return "no envelope of this library"
    return f"a bare pickle: {_pickle_detail(scan_pickle(untrusted, frozenset()))}"


def _pickle_detail(report: PickleReport) -> str:
    named = sorted(".".join(name) for name in report.refused_globals)
    shown = ", ".join(names.printable(name, 60) for name in named[:_NAMES_SHOWN])
    more = f" and {len(named) - _NAMES_SHOWN} more" if len(named) > _NAMES_SHOWN else ""
    opcodes = ", ".join(sorted({call.partition(" ")[0] for call in report.calls}))
    return f"{report.reason or 'plain data'}{': ' if shown else ''}{shown}{more}{f' by {opcodes}' if opcodes else ''}"
