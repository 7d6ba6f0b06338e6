"""The acceptance table: which fault, on which topology, under which durability, and what is promised then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.chaos import faults
from tests.chaos.case import Case, Fault
from tests.chaos.crew import Load
from tests.chaos.places import ShardedBehindProxy, SingleBehindProxy, WatchedBehindProxy
from tests.chaos.verdict import Promise

EVERYWHERE = ("standalone", "sentinel", "cluster")
BACKPRESSURE = frozenset({"Backpressure"})
HELD = 40
"""More tasks than two workers hold at any time."""
SHORT = 3.0
"""What counts as no gap on a busy machine, in seconds."""
EXACT = Promise(5, 5, duplicates=0)
BEHIND_PROXY = {"standalone": SingleBehindProxy, "sentinel": WatchedBehindProxy, "cluster": ShardedBehindProxy}
USUAL = Load()
DELAYED = Load(delay=15.0)

_DURABILITY = "waiting for replicas is not built yet"
_PARTITIONS = "a queue is one partition for now"
NOT_YET = {
    **dict.fromkeys((*range(1, 14), 17, 28, 29, 34, 35), _DURABILITY),
    27: _PARTITIONS,
    31: _PARTITIONS,
    32: "a dependency across partitions: dependencies are not built yet",
    33: "the groups of local servers have no TLS yet",
}
"""Rows whose feature does not exist, and why; they are told in every report."""


def table() -> list[Case]:
    """Every case of every row but the soak, in the order of the rows."""
    return sorted((*_servers(), *_clients(), *_limits(), *_restarts()), key=lambda case: case.row)


def _row(
    row: int,
    title: str,
    topologies: str | Sequence[str],
    durability: str,
    fault: Fault,
    promise: Promise,
    load: Load = USUAL,
) -> Iterator[Case]:
    for topology in [topologies] if isinstance(topologies, str) else topologies:
        yield Case(row, title, topology, durability, fault, promise, load)


def _servers() -> Iterator[Case]:
    planned = faults.promoted()
    yield from _row(14, "manual cluster failover", "cluster", "primary", planned, Promise(SHORT, SHORT, HELD))
    moved, moves = faults.slot_moved(2000, 2), Promise(6, 6, HELD)
    yield from _row(15, "slot migration under load", "cluster", "primary", moved, moves)
    yield from _row(16, "slot migration with a delayed backlog", "cluster", "primary", moved, moves, DELAYED)
    killed, hung = faults.primary_killed(2), faults.primary_hangs(5)
    yield from _row(23, "restart with AOF", "standalone", "primary", killed, Promise(5, 5, HELD))
    yield from _row(24, "server stall", "standalone", "primary", hung, Promise(7, 7, HELD))


def _clients() -> Iterator[Case]:
    calm = Promise(SHORT, SHORT, HELD)
    yield from _row(18, "connections killed", EVERYWHERE, "primary", faults.connections_killed(), calm)
    yield from _row(19, "worker killed", EVERYWHERE, "primary", faults.worker_killed(), calm)
    yield from _row(20, "zombie worker", EVERYWHERE, "primary", faults.worker_hangs(8), calm)
    yield from _row(21, "script cache lost", EVERYWHERE, "primary", faults.scripts_forgotten(), calm)
    for case in _row(25, "reply lost after execution", EVERYWHERE, "primary", faults.replies_lost(5), EXACT):
        yield replace(case, place=BEHIND_PROXY[case.topology])
    yield from _row(26, "cancelled calls", EVERYWHERE, "primary", faults.calls_cancelled(500), calm)
    yield from _row(30, "clock jump", EVERYWHERE, "primary", faults.clock_jumps(5), calm)


def _limits() -> Iterator[Case]:
    full = Promise(7, 7, HELD, BACKPRESSURE)
    yield from _row(22, "memory limit", EVERYWHERE, "primary", faults.memory_full(4), full)
    yield from _row(22, "disk full", "standalone", "primary", faults.disk_refuses(4), Promise(7, 7, HELD))


def _restarts() -> Iterator[Case]:
    return iter(())


def soak(minutes: float, seed: int) -> list[Case]:
    """Row 36: random faults for as long as one likes, on both topologies that fail over."""
    fault = faults.random_faults(minutes, 15, seed)
    load = Load(count=round(minutes * 60 * USUAL.rate))
    promise = Promise(20, 20, duplicates=load.count)
    cases = _row(36, "soak", ("sentinel", "cluster"), "replicated", fault, promise, load)
    return [replace(case, strike_at=0.01) for case in cases]
