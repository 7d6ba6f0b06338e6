"""Checks of primaries and replicas: how many there are, whether they keep up, and what a primary does without them."""

from __future__ import annotations

from collections.abc import Iterator

from secure_queue.doctor.checks.servers import hard_limits
from secure_queue.doctor.facts import Facts, NodeFacts, Role
from secure_queue.doctor.findings import WITH_REPLICAS, Check, NodeCheck, Problem, WholeCheck, fail, warn
from secure_queue.doctor.parsing import attached

PRIMARIES = frozenset((Role.PRIMARY,))
REPLICAS = frozenset((Role.REPLICA,))
LONGEST_LAG_S = 1
SMALLEST_BACKLOG = 64 << 20


def replicas(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A primary without a replica is the only copy, and nobody can take its place."""
    if node.number("info.connected_slaves") < 1 and not _holds_nothing(node):
        yield fail("it has no connected replica", "start a replica, or REPLICAOF / CLUSTER REPLICATE an idle server")
    for one in attached(node.told):
        name, state, lag = f"{one.get('ip')}:{one.get('port')}", one.get("state", ""), int(one.get("lag", 0))
        if state != "online":
            yield warn(
                f"replica {name} is not yet up to date ({state})", "wait; if it stays so, look at the replica's log"
            )
        elif lag > LONGEST_LAG_S:
            yield warn(
                f"replica {name} lags {lag} s behind", "look at the network between them, and at the replica's load"
            )


def _holds_nothing(node: NodeFacts) -> bool:
    """A cluster node without slots needs no replica."""
    own = [member for member in node.members if "myself" in member.flags]
    return bool(own) and own[0].slots == 0


def link_up(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A replica whose link is down misses what is written."""
    if node.told["info.master_link_status"] != "up":
        yield fail(
            "its link to the primary is down", "look at its log; check masterauth, masteruser, TLS and addresses"
        )
    if node.told.get("info.slave_read_only") == "0":
        yield warn("it accepts writes, which are lost at the next synchronization", "CONFIG SET replica-read-only yes")


def priorities(facts: Facts) -> Iterator[Problem]:
    """With priority 0 a replica is never promoted; unequal ones prefer a replica over the youngest data."""
    found = {node.name: node.told["info.slave_priority"] for node in _replicas_with(facts, "info.slave_priority")}
    if found and set(found.values()) == {"0"}:
        yield fail(
            "no replica may be promoted: replica-priority is 0", "CONFIG SET replica-priority 100 on at least one"
        )
    elif len(set(found.values())) > 1:
        told = ", ".join(f"{name} {priority}" for name, priority in sorted(found.items()))
        yield warn(
            f"the replicas have different priorities ({told})", "CONFIG SET replica-priority 100, unless it is meant"
        )


def _replicas_with(facts: Facts, name: str) -> Iterator[NodeFacts]:
    return (node for node in facts.of_role(Role.REPLICA) if name in node.told)


def writes_without_replicas(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """``min-replicas-to-write`` must be possible, and leave one replica to spare."""
    wanted, there = node.number("config.min-replicas-to-write"), node.number("info.connected_slaves")
    if wanted > there:
        yield fail(
            f"min-replicas-to-write is {wanted:.0f}, but {there:.0f} replicas are connected: every write is refused",
            f"start the replicas, or CONFIG SET min-replicas-to-write {max(there - 1, 0):.0f}",
        )
    elif wanted and wanted == there:
        yield warn(
            f"min-replicas-to-write is {wanted:.0f} of {there:.0f}: every write is refused when one replica is away",
            "add a replica, unless that is meant",
        )


def backlog(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A replica that was away for a moment should go on where it was, not copy everything."""
    size = node.number("config.repl-backlog-size")
    if size < SMALLEST_BACKLOG:
        yield warn(
            f"repl-backlog-size is {size / (1 << 20):.0f} MB: after a short absence a replica must copy everything",
            "CONFIG SET repl-backlog-size 64mb, and in redis.conf",
        )
    hard = hard_limits(node.told.get("config.client-output-buffer-limit", "")).get("slave", 0)
    if 0 < hard < size:
        yield warn(
            "the output buffer of replicas is smaller than the backlog: a busy one is cut off before it can catch up",
            'CONFIG SET client-output-buffer-limit "replica 268435456 67108864 60"',
        )


CHECKS: tuple[Check, ...] = (
    NodeCheck(
        "replicas",
        "every primary has replicas that keep up",
        replicas,
        PRIMARIES,
        ("info.connected_slaves",),
        WITH_REPLICAS,
    ),
    NodeCheck("replica-link", "replicas are linked and read-only", link_up, REPLICAS, ("info.master_link_status",)),
    WholeCheck("replica-priority", "every replica may be promoted", priorities, Facts.replicas, WITH_REPLICAS),
    NodeCheck(
        "min-replicas",
        "writes do not hang on the last replica",
        writes_without_replicas,
        PRIMARIES,
        ("config.min-replicas-to-write", "info.connected_slaves"),
    ),
    NodeCheck(
        "backlog",
        "replicas can catch up after a short absence",
        backlog,
        PRIMARIES,
        ("config.repl-backlog-size",),
        WITH_REPLICAS,
    ),
)
