"""The acceptance table: which fault, on which topology, under which durability, and what is promised then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from benchmarks.server import version_of
from secure_queue.local.node import speaks_tls
from tests.chaos import client_faults, long_faults, server_faults, slot_faults
from tests.chaos.case import Case, Fault
from tests.chaos.crew import Load
from tests.chaos.places import (
    Sharded,
    ShardedBehindProxy,
    SingleBehindProxy,
    Watched,
    WatchedBehindProxy,
    WatchedThroughProxies,
    over_tls,
)
from tests.chaos.verdict import Promise

EVERYWHERE = ("standalone", "sentinel", "cluster")
BEHIND_PROXY = {"standalone": SingleBehindProxy, "sentinel": WatchedBehindProxy, "cluster": ShardedBehindProxy}
USUAL, DELAYED = Load(), Load(delay=15.0)

HELD = 40
"""More tasks than two workers hold at any time."""
ZOMBIE = HELD + 300
"""What is run on a primary that has been replaced, until everybody has noticed, runs again on the new one."""
REPLAYED = HELD + 2000
"""What was acknowledged within the replay window of 20 s runs again if the server has forgotten that it has run."""
CALM = Promise(3, 3, HELD)
"""No gap: what a busy machine needs is no more than 3 s."""
AFTERWARDS = Promise(3, 3, HELD, during=True)
"""Everything waits for the end of the fault, and goes on then."""
BACKPRESSURE = frozenset({"Backpressure"})

ANNOUNCES_AT_ONCE = (7,)
"""An older cluster node names the port of its proxy only after a restart, so what is sent to it cannot be cut off there."""


def table(binary: Path) -> list[Case]:
    """Every case of every row but the soak, as far as *binary* can play them, in the order of the rows."""
    parts = [_sentinels(), _planned(), _blind(), _cluster(), _spread(), _single(), _clients(), _limits(), _whole()]
    if speaks_tls(binary):
        parts.append(_over_tls())
    if version_of(binary) < ANNOUNCES_AT_ONCE:
        parts = [(case for case in part if case.place is not ShardedBehindProxy) for part in parts]
    return sorted(chain(*parts), key=lambda case: case.row)


def not_played(binary: Path) -> dict[int, str]:
    """The rows that *table* leaves out, and why; they are told in every report."""
    return {} if speaks_tls(binary) else {33: f"{binary} was built without TLS"}


def _row(
    row: int,
    title: str,
    topologies: str | Sequence[str],
    fault: Fault,
    promise: Promise,
    load: Load = USUAL,
    *,
    durability: str | None = None,
) -> Iterator[Case]:
    """The cases of a row, at the level that each topology has by default unless *durability* names another."""
    for topology in [topologies] if isinstance(topologies, str) else topologies:
        level = durability or ("primary" if topology == "standalone" else "replicated")
        yield Case(row, title, topology, level, fault, promise, load)


def _sentinels() -> Iterator[Case]:
    """Servers behind sentinels die and hang."""
    killed, hung = server_faults.primary_killed(10), server_faults.primary_hangs(5)
    yield from _row(1, "primary killed", "sentinel", killed, Promise(5, 5, HELD))
    yield from _row(2, "primary hangs and returns as a zombie", "sentinel", hung, Promise(6, 6, HELD))
    yield from _row(
        3, "primary hangs for long", "sentinel", server_faults.primary_hangs(12), Promise(6, 6, HELD), DELAYED
    )
    yield from _row(
        7, "zombie with min-replicas", "sentinel", server_faults.with_min_replicas(hung), Promise(6, 6, HELD)
    )
    one_hangs = server_faults.primary_killed_while_a_sentinel_hangs(10)
    yield from _row(8, "a sentinel hangs while the primary dies", "sentinel", one_hangs, Promise(6, 6, HELD))
    yield from _row(10, "replica killed", "sentinel", server_faults.replica_killed(4), CALM)
    emptied = server_faults.primary_emptied(0.3)
    yield from _row(11, "primary restarted empty", ("standalone", "sentinel"), emptied, Promise(6, 6, REPLAYED))


def _planned() -> Iterator[Case]:
    """Sentinel changes the primary although nothing is broken: the old one stays writable for ten seconds."""
    planned = server_faults.promoted()
    yield from _row(4, "planned failover", "sentinel", planned, Promise(3, 3, ZOMBIE))
    yield from _row(5, "planned failover with a backlog", "sentinel", planned, Promise(3, 6, HELD), DELAYED)
    promise = Promise(16, 16, ZOMBIE)
    yield from _row(6, "planned failover, every copy", "sentinel", planned, promise, durability="all")
    both = client_faults.promoted_and_producer_killed(2)
    promise = replace(promise, unreturned=True)
    yield from _row(28, "producer dies after a failover", "sentinel", both, promise, durability="all")


def _blind() -> Iterator[Case]:
    """Nobody can say who is primary."""
    yield from _row(9, "all sentinels down", "sentinel", server_faults.sentinels_killed(6), CALM)
    promise = Promise(11, 11, HELD, errors=frozenset({"Unavailable"}), deadline_s=3)
    for case in _row(29, "minority partition", "sentinel", server_faults.sentinels_silenced(12), promise):
        yield replace(case, place=WatchedThroughProxies, load=Load(count=2000), strike_at=0.2)


def _cluster() -> Iterator[Case]:
    """A shard of a cluster fails, changes hands, or moves."""
    killed, moved, moves = server_faults.primary_killed(10), slot_faults.slot_moved(2000, 2), AFTERWARDS
    yield from _row(12, "shard primary killed", "cluster", killed, Promise(13, 6, HELD))
    yield from _row(13, "shard primary hangs", "cluster", server_faults.primary_hangs(5), Promise(10, 7, HELD))
    yield from _row(13, "shard primary hangs", "cluster", server_faults.primary_hangs(12), Promise(15, 7, HELD))
    yield from _row(14, "manual cluster failover", "cluster", server_faults.promoted(), CALM)
    yield from _row(15, "slot migration under load", "cluster", moved, moves)
    yield from _row(16, "slot migration with a delayed backlog", "cluster", moved, moves, DELAYED)
    yield from _row(17, "shard replica killed", "cluster", server_faults.replica_killed(4), AFTERWARDS)


def _spread() -> Iterator[Case]:
    """One queue over many slots."""
    keyed, unavailable = Load(keyed=10), frozenset({"PartitionUnavailable"})
    killed = server_faults.primary_of_partition_killed(1, 10)
    promise = Promise(5, 5, HELD)  # one server holds them all
    for case in _row(1, "primary of a partition killed", "sentinel", killed, promise, keyed):
        yield replace(case, options={"partitions": 6})
    # The load goes on until the node is back: at its end only what waits for a replica of that shard would be due.
    for partition in (1, 0):
        killed = server_faults.primary_of_partition_killed(partition, 10)
        for case in _row(12, "primary of a partition killed", "cluster", killed, CALM, replace(keyed, count=1800)):
            yield replace(case, options={"partitions": 6}, strike_at=0.2)
    promise = Promise(3, 3, HELD, errors=unavailable, most_refused=100, deadline_s=6)
    outlasting = replace(keyed, count=2500)  # for the same reason
    for partition in (0, 1):
        lost = server_faults.shard_lost(partition, 15)
        for case in _row(27, "shard lost", "cluster", lost, promise, outlasting):
            yield replace(case, options={"partitions": 6}, strike_at=0.16)
    changed, ordered = client_faults.partitions_changed((8, 4), 2), replace(keyed, ordered=24)
    for case in _row(31, "partitions under load", "cluster", changed, CALM, ordered):
        yield replace(case, options={"partitions": 4})
    for partition in (0, 1):
        killed = server_faults.primary_of_partition_killed(partition, 10)
        promise = Promise(13, 13, HELD)  # whoever waits for the other shard's task waits for that shard
        for case in _row(32, "dependency across partitions", "cluster", killed, promise, Load(linked=True)):
            yield replace(case, options={"partitions": 2})


def _single() -> Iterator[Case]:
    """One server that nobody replaces."""
    killed, hung = server_faults.primary_killed(2), server_faults.primary_hangs(5)
    yield from _row(23, "restart with AOF", "standalone", killed, AFTERWARDS)
    yield from _row(24, "server stall", "standalone", hung, AFTERWARDS)


def _clients() -> Iterator[Case]:
    """Connections, workers and calls break."""
    yield from _row(18, "connections killed", EVERYWHERE, server_faults.connections_killed(), CALM)
    yield from _row(19, "worker killed", EVERYWHERE, client_faults.worker_killed(), CALM, Load(ordered=24))
    yield from _row(20, "zombie worker", EVERYWHERE, client_faults.worker_hangs(8), CALM)
    yield from _row(21, "script cache lost", EVERYWHERE, server_faults.scripts_forgotten(), CALM)
    exact = Promise(5, 5, duplicates=0)
    for case in _row(25, "reply lost after execution", EVERYWHERE, client_faults.replies_lost(5), exact):
        yield replace(case, place=BEHIND_PROXY[case.topology])
    yield from _row(26, "cancelled calls", EVERYWHERE, client_faults.calls_cancelled(500), CALM)
    yield from _row(30, "clock jump", EVERYWHERE, server_faults.clock_jumps(5), CALM)


def _limits() -> Iterator[Case]:
    """Servers that have no room."""
    full = replace(AFTERWARDS, errors=BACKPRESSURE)
    yield from _row(22, "memory limit", EVERYWHERE, server_faults.memory_full(4), full)
    yield from _row(22, "disk full", "standalone", server_faults.disk_refuses(4), AFTERWARDS)


def _over_tls() -> Iterator[Case]:
    """Rows 1 and 12 with certificates."""
    killed = server_faults.primary_killed(10)
    for topology, promise, kind in (
        ("sentinel", Promise(5, 5, HELD), Watched),
        ("cluster", Promise(13, 6, HELD), Sharded),
    ):
        for case in _row(33, "TLS everywhere", topology, killed, promise):
            yield replace(case, place=over_tls(kind))


def _whole() -> Iterator[Case]:
    """Other rows on other servers, and everything restarted."""
    for fault, promise in (
        (server_faults.primary_killed(10), Promise(5, 5, HELD)),
        (server_faults.promoted(), Promise(3, 3, ZOMBIE)),
        (server_faults.scripts_forgotten(), CALM),
    ):
        for case in _row(34, "Redis 6.2", "sentinel", fault, promise):
            yield replace(case, on_oldest=True)
    rolling, load = long_faults.everything_restarted(10), Load(count=9000)
    for case in _row(35, "rolling restart", ("sentinel", "cluster"), rolling, Promise(10, 10, ZOMBIE), load):
        yield replace(case, strike_at=0.05)


def soak(minutes: float, seed: int) -> list[Case]:
    """Row 36: random faults for as long as one likes, on both topologies that fail over."""
    fault = long_faults.random_faults(minutes, 15, seed)
    load = Load(count=round(minutes * 60 * USUAL.rate))
    cases = _row(36, "soak", ("sentinel", "cluster"), fault, Promise(20, 20, duplicates=load.count), load)
    return [replace(case, strike_at=0.01) for case in cases]
