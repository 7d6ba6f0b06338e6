"""What an audit can find: the words of its report, how bad each is, and the value that carries one of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How bad a finding is; from ``WARNING`` on an audit fails."""

    OK = "ok"
    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class Kind(StrEnum):
    """What stands in the place that was looked at."""

    TASK = "task"
    RESULT = "result"
    DEATH = "death"
    ABORT_MARK = "abort-mark"
    PRESENCE = "presence"
    PART = "part"
    SCHEDULE = "schedule"
    HANDOVER = "handover"
    WORKFLOW = "workflow"
    QUARANTINED = "quarantined"
    ENTRY = "entry"
    KEY = "key"


class Code(StrEnum):
    """What is the matter; ``docs/audit.md`` explains each word."""

    VALID = "valid"
    EXPIRED = "expired"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad-signature"
    MOVED = "moved"
    REPEATED = "repeated"
    DANGEROUS_PICKLE = "dangerous-pickle"
    UNKNOWN_KEY = "unknown-key"
    REVOKED_KEY = "revoked-key"
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    WRONG_SERIALIZER = "wrong-serializer"
    FROM_THE_FUTURE = "from-the-future"
    NO_EXPIRY = "no-expiry"
    BAD_ID = "bad-id"
    ORPHAN_ID = "orphan-id"
    WRONG_TYPE = "wrong-type"
    STRAY_KEY = "stray-key"


_NOT_A_WARNING: Final = {
    Code.VALID: Severity.OK,
    Code.EXPIRED: Severity.NOTICE,  # what comes too late ends by itself
    Code.UNSIGNED: Severity.CRITICAL,
    Code.BAD_SIGNATURE: Severity.CRITICAL,
    Code.MOVED: Severity.CRITICAL,
    Code.REPEATED: Severity.CRITICAL,
    Code.DANGEROUS_PICKLE: Severity.CRITICAL,
}


def severity_of(code: Code) -> Severity:
    """How bad a code is on its own."""
    return _NOT_A_WARNING.get(code, Severity.WARNING)


SEALED: Final = frozenset(
    {Code.VALID, Code.EXPIRED, Code.MOVED, Code.DANGEROUS_PICKLE, Code.WRONG_SERIALIZER, Code.FROM_THE_FUTURE}
)
"""The codes of payloads whose signature was found genuine, so that what their envelope says can be believed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place and what was found there. Every text is escaped; none is a part of a payload's value.

    What an envelope says of itself (key, serializer, function, times) is the word of its writer unless ``genuine``.
    Times are in milliseconds since the epoch; ``sha256`` is empty where the bytes were not read.
    """

    code: Code
    severity: Severity
    kind: Kind
    id: str
    detail: str = ""
    key_name: str = ""
    key_id: str = ""
    serializer: str = ""
    function: str = ""
    size: int = 0
    sha256: str = ""
    issued_ms: int | None = None
    expires_ms: int | None = None

    def to_plain(self) -> dict[str, str | int | None]:
        """Plain data with stable keys."""
        return asdict(self)

    @property
    def genuine(self) -> bool:
        """Whether the signature was checked and is right."""
        return self.code in SEALED or (self.code is Code.NO_EXPIRY and bool(self.key_id))
