"""What a check is, and what it may find: a level, the reason, and what repairs it. Checks are pure functions of facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from secure_queue.doctor.facts import Facts, Kind, NodeFacts, Role

EVERYWHERE = frozenset(Kind)
WITH_REPLICAS = frozenset((Kind.SENTINEL, Kind.CLUSTER))
SERVERS = frozenset((Role.PRIMARY, Role.REPLICA))
ALL_NODES = frozenset(Role)


class Level(StrEnum):
    """How bad a finding is; only ``FAIL`` makes the command fail."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"


class Problem(NamedTuple):
    """What a check has found; *where* is for checks of the whole deployment."""

    level: Level
    reason: str
    fix: str
    where: str = ""


def fail(reason: str, fix: str, where: str = "") -> Problem:
    """Something that loses tasks, or keeps them from running."""
    return Problem(Level.FAIL, reason, fix, where)


def warn(reason: str, fix: str, where: str = "") -> Problem:
    """Something that will hurt under circumstances."""
    return Problem(Level.WARN, reason, fix, where)


def unknown(reason: str, fix: str = "", where: str = "") -> Problem:
    """Something that could not be learned."""
    return Problem(Level.UNKNOWN, reason, fix, where)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    where: str
    reason: str
    fix: str = ""


class Check(Protocol):
    """One question about the deployment; *well* is what is true when it finds nothing."""

    @property
    def id(self) -> str: ...

    @property
    def well(self) -> str: ...

    def run(self, facts: Facts) -> Iterator[Finding]: ...


@dataclass(frozen=True, slots=True)
class NodeCheck:
    """Looks at each node of some roles; *needs* names what must have been told, or the finding is UNKNOWN."""

    id: str
    well: str
    find: Callable[[NodeFacts, Facts], Iterator[Problem]]
    roles: frozenset[Role] = SERVERS
    needs: tuple[str, ...] = ()
    kinds: frozenset[Kind] = EVERYWHERE

    def run(self, facts: Facts) -> Iterator[Finding]:
        """The findings on all nodes, or one that all is well."""
        nodes = list(facts.of_role(*self.roles)) if facts.kind in self.kinds else []
        found = [Finding(self.id, p.level, node.name, p.reason, p.fix) for node in nodes for p in self._on(node, facts)]
        if nodes and not found:
            found = [Finding(self.id, Level.OK, "", self.well)]
        yield from found

    def _on(self, node: NodeFacts, facts: Facts) -> Iterator[Problem]:
        missing = [name for name in self.needs if name not in node.told]
        if missing:
            return iter(
                [
                    unknown(
                        node.why_untold(missing[0]),
                        "let this user ask (+info +config|get …, docs/doctor.md), or look by hand",
                    )
                ]
            )
        return self.find(node, facts)


@dataclass(frozen=True, slots=True)
class WholeCheck:
    """Looks at the deployment as a whole; it has nothing to say if there is nothing that *about* gives."""

    id: str
    well: str
    find: Callable[[Facts], Iterator[Problem]]
    about: Callable[[Facts], Sized] = Facts.servers
    kinds: frozenset[Kind] = EVERYWHERE

    def run(self, facts: Facts) -> Iterator[Finding]:
        """The findings, or one that all is well."""
        if facts.kind not in self.kinds or not len(self.about(facts)):
            return
        found = [Finding(self.id, p.level, p.where, p.reason, p.fix) for p in self.find(facts)]
        yield from found or [Finding(self.id, Level.OK, "", self.well)]


def apply(checks: Sequence[Check], facts: Facts) -> list[Finding]:
    """Everything that *checks* find, in their order."""
    return [finding for check in checks for finding in check.run(facts)]
