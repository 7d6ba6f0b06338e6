"""What was learned about a deployment, as frozen values: the only thing that a check sees.

What a server tells of itself is kept as text under the name of its source and of the setting: ``info.used_memory``,
``config.timeout``, ``cluster.cluster_state``, ``master.quorum``. What it refuses to tell stands in ``refused``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

SLOTS = 16_384
SUSPICIONS = frozenset(("fail", "fail?", "noaddr", "handshake"))


class Kind(StrEnum):
    """How the servers of the deployment belong together."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Role(StrEnum):
    """What a node is, in its own words."""

    PRIMARY = "primary"
    REPLICA = "replica"
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True)
class Member:
    """One line of ``CLUSTER NODES``: a node as another one sees it; *open_slots* are being moved to or from it."""

    node_id: str
    name: str
    flags: frozenset[str]
    primary_id: str
    slots: int
    open_slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One server; *problem* says why nothing could be asked."""

    name: str
    host: str
    role: Role
    problem: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    members: tuple[Member, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether it is reached without leaving this machine."""
        return self.host in ("", "localhost", "::1") or self.host.startswith("127.")

    def number(self, name: str) -> float:
        """A setting or counter as a number."""
        return float(self.told[name])

    def why_untold(self, name: str) -> str:
        """Why *name* is not known: the server's own words, if it refused."""
        return self.refused.get(name.partition(".")[0], f"the server does not tell {name.partition('.')[2]}")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the rehearsal; *problem* is empty if it did what it must."""

    name: str
    ms: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A task of the doctor's own on its way through one partition, and the commands that were denied meanwhile.

    *confirmed* of *replicas* replicas have confirmed a write; *invented* says that more were counted than there are.
    """

    steps: tuple[Step, ...] = ()
    denied: tuple[str, ...] = ()
    refusal: str = ""
    replicas: int = 0
    confirmed: int | None = None
    invented: bool = False


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """How a partition of the queue stands; times in milliseconds, None where nothing is that old."""

    workers: int
    ready: int
    oldest_ready_ms: int | None = None
    overdue_lease_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """A look at what is stored, by the codes of an audit; not *whole* if it ended before all had been seen."""

    looked_at: int
    codes: Mapping[str, int]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """One partition of the queue. What could not be learned is None, and *problem* says why."""

    tag: str
    key_prefix: str
    primary: str = ""
    server_slot: int | None = None
    own_slot: int = 0
    rehearsal: Rehearsal | None = None
    queue: QueueFacts | None = None
    stored: StoredFacts | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole deployment, and what the queue expects of it (seconds)."""

    name: str
    kind: Kind
    nodes: tuple[NodeFacts, ...]
    partitions: tuple[PartitionFacts, ...] = ()
    queue_name: str = "default"
    lease_s: float = 60.0
    deadline_s: float = 20.0
    connections: int = 132
    """How many connections one process of the queue opens at the most."""

    def of_role(self, *roles: Role) -> Iterator[NodeFacts]:
        """The nodes of these roles that could be asked."""
        return (node for node in self.nodes if node.role in roles and not node.problem)

    def servers(self) -> list[NodeFacts]:
        """The nodes that hold data and could be asked."""
        return list(self.of_role(Role.PRIMARY, Role.REPLICA))

    def replicas(self) -> list[NodeFacts]:
        """The replicas that could be asked."""
        return list(self.of_role(Role.REPLICA))

    def all_nodes(self) -> tuple[NodeFacts, ...]:
        """Every node, also those that do not answer."""
        return self.nodes

    def all_partitions(self) -> tuple[PartitionFacts, ...]:
        """Every partition of the queue."""
        return self.partitions

    def sentinels(self) -> list[NodeFacts]:
        """The sentinels that could be asked."""
        return list(self.of_role(Role.SENTINEL))

    def members(self) -> tuple[Member, ...]:
        """The nodes of the cluster: each as it sees itself, or else as a healthy node of the youngest epoch sees it."""
        told = [node for node in self.servers() if node.members]
        if not told:
            return ()
        well = [node for node in told if node.told.get("cluster.cluster_state") == "ok"]
        best = max(well or told, key=lambda node: float(node.told.get("cluster.cluster_current_epoch", 0)))
        selves = {one.node_id: one for node in told for one in node.members if "myself" in one.flags}
        return tuple(_merged(selves.get(one.node_id, one), one) for one in best.members)


def _merged(itself: Member, seen: Member) -> Member:
    return replace(itself, name=seen.name, flags=itself.flags | (seen.flags & SUSPICIONS))
