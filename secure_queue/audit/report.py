"""Counts findings into a report: one JSON object with stable keys, and the exit code that a script can use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from secure_queue.audit.findings import Code, Finding, Kind, Severity
from secure_queue.clock import now_ms
from secure_queue.payload.codec import DEFAULT_LIFETIME_S, Limits
from secure_queue.payload.keys import KeyRing, KeyState
from secure_queue.presence import Process

CLEAN, FINDINGS, NOT_CHECKED = 0, 1, 2
MOST_LISTED: Final = 1_000
_FAILING: Final = frozenset({Severity.WARNING, Severity.CRITICAL})
_NO_PAYLOAD: Final = frozenset({Kind.ENTRY, Kind.KEY, Kind.PRESENCE})
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000
_AGES: Final = (
    ("under 1 min", _MINUTE_MS),
    ("under 1 h", _HOUR_MS),
    ("under 1 day", _DAY_MS),
    ("under 7 days", 7 * _DAY_MS),
)
_SIZES: Final = (
    ("under 1 KiB", 1 << 10),
    ("under 16 KiB", 1 << 14),
    ("under 256 KiB", 1 << 18),
    ("up to 1 MiB", (1 << 20) + 1),
)
UNVERIFIED: Final = "(unverified)"


@dataclass(slots=True)
class KeyUse:
    """How many payloads a key has signed (of a revoked one: that name it), and until when they can be valid.

    ``retirable`` is yes, or the reason why it is not; ``gone_by_ms`` is when the last of its payloads will have expired,
    a copy that somebody kept included.
    """

    id: str
    state: str
    payloads: int = 0
    last_issued_ms: int | None = None
    last_expires_ms: int | None = None
    signing_processes: int = 0
    retirable: str = ""
    gone_by_ms: int | None = None

    def note(self, finding: Finding) -> None:
        """Count one payload."""
        self.payloads += 1
        if finding.genuine:
            self.last_issued_ms = max(self.last_issued_ms or 0, finding.issued_ms or 0)
            self.last_expires_ms = max(self.last_expires_ms or 0, finding.expires_ms or 0) or None


@dataclass(slots=True)
class AuditReport:
    """What an audit of one queue has found. Names in it are escaped; counters have no name from an unverified envelope."""

    queue: str
    started_ms: int
    keys: dict[str, KeyUse]
    since_ms: int | None = None
    passed_over: int = 0
    """Genuine payloads that are older than ``since_ms``."""
    processes: int = 0
    finished_ms: int = 0
    payloads: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    severities: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    unknown_keys: int = 0
    serializers: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    ages: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    """What is not in order, worst first, at most ``MOST_LISTED``."""
    not_listed: int = 0

    @classmethod
    def of(cls, queue: str, ring: KeyRing, *, since_ms: int | None = None) -> AuditReport:
        """An empty report that begins now."""
        keys = {key.name: KeyUse(key.key_id.hex(), key.state.value) for key in ring.keys}
        return cls(queue, now_ms(), keys, since_ms)

    @property
    def exit_code(self) -> int:
        """0 if nothing is worse than a notice, else 1."""
        return FINDINGS if any(self.severities[severity] for severity in _FAILING) else CLEAN

    def add(self, finding: Finding) -> None:
        """Count one finding; only a genuine payload is believed to be older than what is asked for."""
        if self.since_ms is not None and finding.genuine and (finding.issued_ms or 0) < self.since_ms:
            self.passed_over += 1
            return
        self.codes[finding.code] += 1
        self.severities[finding.severity] += 1
        self.kinds[finding.kind] += 1
        if finding.kind not in _NO_PAYLOAD:
            self._add_payload(finding)
        if finding.severity is not Severity.OK:
            self._list(finding)

    def _add_payload(self, finding: Finding) -> None:
        self.payloads += 1
        self.sizes[_class(_SIZES, finding.size, "over 1 MiB")] += 1
        use = self.keys.get(finding.key_name)
        if use is not None and (finding.genuine or finding.code is Code.REVOKED_KEY):
            use.note(finding)
        elif finding.code is Code.UNKNOWN_KEY:
            self.unknown_keys += 1
        if finding.genuine:
            age = _class(_AGES, self.started_ms - (finding.issued_ms or 0), "7 days or more")
            self.ages[age] += 1
        self.serializers[finding.serializer if finding.genuine else UNVERIFIED] += 1
        self.functions[finding.function if finding.genuine else UNVERIFIED] += 1

    def _list(self, finding: Finding) -> None:
        """Keep the finding, or the worse ones if there are too many."""
        if len(self.findings) < MOST_LISTED:
            self.findings.append(finding)
            return
        self.not_listed += 1
        if finding.severity is Severity.CRITICAL:
            for place, listed in enumerate(self.findings):
                if listed.severity is not Severity.CRITICAL:
                    self.findings[place] = finding
                    return

    def judge_keys(self, processes: Sequence[Process]) -> None:
        """Say of each key whether it can be retired."""
        self.processes = len(processes)
        unread = sum(bool(process.problem) for process in processes)
        for use in self.keys.values():
            use.signing_processes = sum(process.state_of(use.id) == KeyState.ACTIVE.value for process in processes)
            use.retirable = "not judged: older payloads were passed over" if self.since_ms else _retirable(use, unread)
            last_ms = use.last_expires_ms or self.started_ms + DEFAULT_LIFETIME_S * 1000
            use.gone_by_ms = last_ms + Limits().clock_skew_ms if use.state == KeyState.VERIFY.value else None

    def finish(self) -> None:
        """Note the end, and put the worst first."""
        self.finished_ms = now_ms()
        order = list(Severity)
        self.findings.sort(key=lambda finding: (-order.index(finding.severity), finding.code, finding.id))

    def to_plain(self) -> dict[str, Any]:
        """The report as plain data; the same keys whatever was found."""
        return {
            "queue": self.queue,
            "exit_code": self.exit_code,
            "started_ms": self.started_ms,
            "finished_ms": self.finished_ms,
            "since_ms": self.since_ms,
            "passed_over": self.passed_over,
            "processes": self.processes,
            "payloads": self.payloads,
            "codes": {code.value: self.codes[code] for code in Code},
            "severities": {severity.value: self.severities[severity] for severity in Severity},
            "kinds": {kind.value: self.kinds[kind] for kind in Kind},
            "keys": {name: asdict(use) for name, use in self.keys.items()},
            "unknown_keys": self.unknown_keys,
            "serializers": dict(self.serializers.most_common()),
            "functions": dict(self.functions.most_common()),
            "ages": {name: self.ages[name] for name in (*(name for name, _ in _AGES), "7 days or more")},
            "sizes": {name: self.sizes[name] for name in (*(name for name, _ in _SIZES), "over 1 MiB")},
            "findings": [finding.to_plain() for finding in self.findings],
            "findings_not_listed": self.not_listed,
        }

    def to_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps(self.to_plain(), indent=2)


async def collect(
    findings: AsyncIterator[Finding], report: AuditReport, on_finding: Callable[[Finding], object] | None = None
) -> AuditReport:
    """Count all *findings* into *report*, and tell each to *on_finding*."""
    async for finding in findings:
        report.add(finding)
        if on_finding is not None:
            on_finding(finding)
    report.finish()
    return report


def _retirable(use: KeyUse, unread: int) -> str:
    """Yes, or why a key cannot be retired yet: the rules of ``docs/keys.md``."""
    if use.state != KeyState.VERIFY.value:
        return "no: it signs" if use.state == KeyState.ACTIVE.value else "it is"
    if use.payloads:
        return f"no: {use.payloads} payloads"
    if use.signing_processes:
        return f"no: {use.signing_processes} processes sign with it"
    return f"no: {unread} processes could not be read" if unread else "yes"


def _class(classes: tuple[tuple[str, int], ...], value: int, above: str) -> str:
    return next((name for name, bound in classes if value < bound), above)
