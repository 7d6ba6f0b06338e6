"""Checks of a cluster: every slot served, none half moved, every node well, every primary with a replica elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from secure_queue.doctor.facts import SLOTS, Facts, Kind, Member, NodeFacts, Role
from secure_queue.doctor.findings import SERVERS, Check, NodeCheck, Problem, WholeCheck, fail, warn

CLUSTER = frozenset((Kind.CLUSTER,))
FEWEST_PRIMARIES = 3
ELECTION_S = 3.0
HEAL = "redis-cli --cluster fix <host>:<port>"


def slots(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A slot that nobody serves stops whatever lies in it, or the whole cluster."""
    covered = sum(member.slots for member in node.members)
    if covered < SLOTS:
        yield fail(
            f"it knows no owner of {SLOTS - covered} of {SLOTS} slots", f"{HEAL}, or CLUSTER ADDSLOTS at the new owner"
        )


def state(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """What the node itself says of the cluster."""
    if node.told["cluster.cluster_state"] != "ok":
        yield fail(
            "it says cluster_state:fail and refuses requests", "look at CLUSTER NODES there; start what is missing"
        )
    failing = int(node.told.get("cluster.cluster_slots_fail", 0)) + int(node.told.get("cluster.cluster_slots_pfail", 0))
    if failing:
        yield fail(
            f"{failing} slots belong to nodes that it cannot reach", "start those nodes, or let a replica take over"
        )


def open_slots(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A slot left between two nodes answers half of its requests with TRYAGAIN."""
    for member in node.members:
        if "myself" in member.flags and member.open_slots:
            yield warn(
                f"slots are between two nodes: {', '.join(member.open_slots)}",
                f"if no migration is under way: {HEAL}",
            )


def members(facts: Facts) -> Iterator[Problem]:
    """Nodes that the others cannot reach, or do not really know."""
    for member in facts.members():
        if "fail" in member.flags or "noaddr" in member.flags:
            yield fail(
                "the cluster takes it for failed", "start it; if it is gone for good, CLUSTER FORGET", member.name
            )
        elif "fail?" in member.flags or "handshake" in member.flags:
            yield warn("the cluster cannot reach it now", "look at the network and at its bus port", member.name)
    yield from _different_views(facts)


def _different_views(facts: Facts) -> Iterator[Problem]:
    """Nodes with an older epoch than the others lead clients astray."""
    epochs = {n.name: int(n.number("cluster.cluster_current_epoch")) for n in _with_epoch(facts)}
    newest = max(epochs.values(), default=0)
    for name, epoch in epochs.items():
        if epoch < newest:
            yield warn(f"it knows epoch {epoch}, others {newest}", "look at the network between the nodes", name)


def _with_epoch(facts: Facts) -> list[NodeFacts]:
    return [node for node in facts.servers() if "cluster.cluster_current_epoch" in node.told]


def layout(facts: Facts) -> Iterator[Problem]:
    """Three primaries for a majority, and each with a replica on another machine."""
    known = facts.members()
    owners = [member for member in known if member.slots]
    if known and len(owners) < FEWEST_PRIMARIES:
        yield fail(
            f"{len(owners)} primaries hold slots: without one there is no majority", "run three primaries or more"
        )
    copies: dict[str, list[Member]] = defaultdict(list)
    for member in known:
        copies[member.primary_id].append(member)
    hosts = Counter(_host(member) for member in known)
    for owner in owners:
        replicas = copies[owner.node_id]
        if not replicas:
            yield fail("no replica could take its place", "CLUSTER REPLICATE from an idle node", owner.name)
        elif len(hosts) > 1 and all(_host(replica) == _host(owner) for replica in replicas):
            yield warn(
                "its replicas share its machine and fail with it", "move a replica to another machine", owner.name
            )
    if len(hosts) == 1 and len(known) > 1:
        yield warn("all nodes share one machine and fail with it", "spread primaries and replicas over machines")


def _host(member: Member) -> str:
    return member.name.rpartition(":")[0]


def settings(node: NodeFacts, facts: Facts) -> Iterator[Problem]:
    """Settings that decide how long a failover takes, and what happens meanwhile."""
    outage_s = node.number("config.cluster-node-timeout") / 1000 + ELECTION_S
    fix = "CONFIG SET cluster-node-timeout 5000 on every node"
    if outage_s >= facts.deadline_s:
        yield fail(f"a failover takes about {outage_s:g} s, and calls give up after {facts.deadline_s:g} s", fix)
    elif outage_s >= facts.lease_s / 2:
        yield warn(f"a failover takes about {outage_s:g} s, more than half of idle_timeout ({facts.lease_s:g} s)", fix)
    if node.told.get("config.cluster-require-full-coverage") == "yes":
        yield warn(
            "one uncovered slot stops the whole cluster, this queue too",
            "CONFIG SET cluster-require-full-coverage no on every node",
        )
    if node.told.get("config.cluster-allow-reads-when-down") == "yes":
        yield warn("a node that was cut off answers with old data", "CONFIG SET cluster-allow-reads-when-down no")


def spread(facts: Facts) -> Iterator[Problem]:
    """All keys of a partition in one slot, and partitions spread over primaries."""
    for partition in facts.partitions:
        if partition.server_slot is not None and partition.server_slot != partition.own_slot:
            yield fail(
                f"the server puts its keys into slot {partition.server_slot}, this library expects {partition.own_slot}",
                "connect to the cluster directly, not through a proxy that rewrites keys",
                partition.tag,
            )
    owners = {partition.primary for partition in facts.partitions if partition.primary}
    if len(facts.partitions) > 1 and len(owners) == 1:
        yield warn(
            f"all partitions lie on {owners.pop()}", "move slots to the other primaries: redis-cli --cluster rebalance"
        )


CHECKS: tuple[Check, ...] = (
    NodeCheck("slots", "all 16,384 slots are served", slots, SERVERS, ("cluster.nodes",), CLUSTER),
    NodeCheck("cluster-state", "every node says cluster_state:ok", state, SERVERS, ("cluster.cluster_state",), CLUSTER),
    NodeCheck(
        "open-slots",
        "no slot is between two nodes",
        open_slots,
        frozenset((Role.PRIMARY,)),
        ("cluster.nodes",),
        CLUSTER,
    ),
    WholeCheck("members", "no node has failed, and all have one epoch", members, kinds=CLUSTER),
    WholeCheck("layout", "every primary has a replica elsewhere", layout, kinds=CLUSTER),
    NodeCheck(
        "cluster-settings",
        "failovers are quick, and one lost slot stops no other",
        settings,
        SERVERS,
        ("config.cluster-node-timeout",),
        CLUSTER,
    ),
    WholeCheck("hash-tags", "all keys of a partition share its slot", spread, Facts.all_partitions, CLUSTER),
)
