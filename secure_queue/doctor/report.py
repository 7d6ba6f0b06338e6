"""All findings about a deployment: counts, one JSON object with stable keys, and the exit code that a script can use."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from secure_queue.doctor.facts import Facts
from secure_queue.doctor.findings import Finding, Level

HEALTHY, FINDINGS, NOT_CHECKED = 0, 1, 2
_WORST_FIRST: Final = (Level.FAIL, Level.WARN, Level.UNKNOWN, Level.OK)


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What the doctor has found, worst first; texts in it are escaped, and none is a payload or a password."""

    deployment: str
    kind: str
    queue: str
    nodes: tuple[str, ...]
    answered: int
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, facts: Facts, findings: Sequence[Finding]) -> DoctorReport:
        """The report on *facts*."""
        nodes = tuple(node.name for node in facts.nodes)
        answered = sum(not node.problem for node in facts.nodes)
        ordered = sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.level))
        return cls(facts.name, facts.kind, facts.queue_name, nodes, answered, tuple(ordered))

    @property
    def levels(self) -> Counter[Level]:
        """How many findings there are of each level."""
        return Counter(finding.level for finding in self.findings)

    def exit_code(self, *, strict: bool = False) -> int:
        """2 if no node answered, 1 if something failed (with *strict*: or is warned of), else 0."""
        if not self.answered:
            return NOT_CHECKED
        bad = self.levels[Level.FAIL] + (self.levels[Level.WARN] if strict else 0)
        return FINDINGS if bad else HEALTHY

    def to_plain(self, *, strict: bool = False) -> dict[str, Any]:
        """The report as plain data; the same keys whatever was found."""
        return {
            "deployment": self.deployment,
            "kind": self.kind,
            "queue": self.queue,
            "exit_code": self.exit_code(strict=strict),
            "nodes": list(self.nodes),
            "answered": self.answered,
            "levels": {level.value: self.levels[level] for level in Level},
            "findings": [asdict(finding) for finding in self.findings],
        }

    def to_json(self, *, strict: bool = False) -> str:
        """The report as one JSON object."""
        return json.dumps(self.to_plain(strict=strict), indent=2)
