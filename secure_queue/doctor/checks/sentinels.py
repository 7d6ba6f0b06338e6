"""Checks of the sentinels: enough of them, of one mind, and fast enough for the deadlines of the queue."""

from __future__ import annotations

from collections.abc import Iterator

from secure_queue.doctor.facts import Facts, Kind, NodeFacts, Role
from secure_queue.doctor.findings import Check, NodeCheck, Problem, WholeCheck, fail, warn

SENTINEL = frozenset((Kind.SENTINEL,))
SENTINELS = frozenset((Role.SENTINEL,))
FEWEST = 3
ELECTION_S = 3.0
"""What an election and the promotion take, beyond ``down-after-milliseconds``."""


def enough(facts: Facts) -> Iterator[Problem]:
    """With fewer than three sentinels one failure ends the majority; a majority must answer now."""
    known = [node for node in facts.nodes if node.role is Role.SENTINEL]
    answering = facts.sentinels()
    if 2 * len(answering) <= len(known):
        yield fail(f"{len(answering)} of {len(known)} sentinels answer: no failover is possible", "start the others")
    if len(known) < FEWEST:
        yield fail(f"there are {len(known)} sentinels: one failure ends the majority", "run three, on three machines")
    elif len(known) % 2 == 0:
        yield warn(f"{len(known)} sentinels survive no more failures than {len(known) - 1}", "add one, or remove one")
    if len({node.host for node in known}) < min(len(known), FEWEST):
        yield warn("several sentinels share a machine and fail with it", "run each on a machine of its own")


def quorum(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """The sentinels' own word on whether a failover could be authorized now."""
    name = node.told.get("master.name", "<name>")
    wanted, known = node.number("master.quorum"), node.number("master.num-other-sentinels") + 1
    if "ckquorum" in node.refused:
        yield fail(
            f"no failover is possible: {node.refused['ckquorum']}",
            f"start the missing sentinels; if some are gone for good, SENTINEL RESET {name} on each",
        )
    if wanted > known:
        yield fail(f"quorum {wanted:.0f} of {known:.0f} sentinels", f"SENTINEL SET {name} quorum {known // 2 + 1:.0f}")
    elif wanted == 1 and known > 1:
        yield warn(
            "quorum 1: one sentinel that is cut off starts a failover",
            f"SENTINEL SET {name} quorum {known // 2 + 1:.0f} on every sentinel",
        )


def agreement(facts: Facts) -> Iterator[Problem]:
    """All sentinels must name the same primary, with the same epoch, and know each other."""
    told = [node for node in facts.sentinels() if "master.address" in node.told]
    for what, word in (("master.address", "primaries"), ("master.config-epoch", "configurations")):
        found = {node.name: node.told.get(what, "") for node in told}
        if len(set(found.values())) > 1:
            views = ", ".join(f"{name} says {value}" for name, value in sorted(found.items()))
            yield fail(
                f"the sentinels name different {word}: {views}", "look at the network between them; wait or RESET"
            )
    known = sum(node.role is Role.SENTINEL for node in facts.nodes)
    counts = {node.name: int(node.number("master.num-other-sentinels")) for node in told}
    for name, count in counts.items():
        if count + 1 < known:
            yield fail(
                f"it knows only {count} other sentinels", "let all monitor the same primary at the same address", name
            )


def unwatched(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """A sentinel that does not watch the primary of this queue is of no use to it."""
    if "master.address" not in node.told:
        yield fail(
            f"it does not watch this primary: {node.refused.get('master', 'no such name')}",
            "SENTINEL MONITOR <name> <host> <port> <quorum>, or correct the name in the URL",
        )


def watched(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """What this sentinel thinks of the primary and its replicas."""
    down = {"s_down", "o_down", "disconnected"} & set(node.told["master.flags"].split(","))
    if down:
        yield fail(f"it takes the primary for {', '.join(sorted(down))}", "start the primary, or wait for the failover")
    if node.told.get("replicas.down"):
        yield fail(
            f"it cannot reach the replicas {node.told['replicas.down']}",
            "start them; if they are gone for good, SENTINEL RESET, one sentinel after the other",
        )


def detection(node: NodeFacts, facts: Facts) -> Iterator[Problem]:
    """A failover must end before calls give up and before leases run out."""
    name, outage_s = (
        node.told.get("master.name", "<name>"),
        node.number("master.down-after-milliseconds") / 1000 + ELECTION_S,
    )
    fix = f"SENTINEL SET {name} down-after-milliseconds 5000 on every sentinel"
    if outage_s >= facts.deadline_s:
        yield fail(f"a failover takes about {outage_s:g} s, and calls give up after {facts.deadline_s:g} s", fix)
    elif outage_s >= facts.lease_s / 2:
        yield warn(
            f"a failover takes about {outage_s:g} s, over half of idle_timeout ({facts.lease_s:g} s): leases may end",
            f"{fix}, or a longer idle_timeout=",
        )
    if outage_s < ELECTION_S + 0.5:
        yield warn("down-after-milliseconds is under half a second: a short stall starts a failover", fix)


CHECKS: tuple[Check, ...] = (
    WholeCheck("sentinels", "there are enough sentinels, and they answer", enough, Facts.sentinels, SENTINEL),
    NodeCheck("monitored", "every sentinel watches the primary", unwatched, SENTINELS),
    NodeCheck(
        "quorum",
        "a failover could be authorized now",
        quorum,
        SENTINELS,
        ("master.quorum", "master.num-other-sentinels"),
    ),
    WholeCheck("agreement", "the sentinels name one primary and one epoch", agreement, Facts.sentinels, SENTINEL),
    NodeCheck("watched", "the sentinels reach the primary and its replicas", watched, SENTINELS, ("master.flags",)),
    NodeCheck(
        "failover-time",
        "a failover ends before deadlines and leases do",
        detection,
        SENTINELS,
        ("master.down-after-milliseconds",),
    ),
)
