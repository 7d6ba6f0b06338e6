"""Which levels of durability each kind of topology can keep."""

from __future__ import annotations

from secure_queue.durability import Durability, Reach
from secure_queue.redis.topology import Embedded, Memory, Standalone, Topology

_HERE = frozenset({Durability.PRIMARY})
_ON_DISK = _HERE | {Durability.FSYNC}
_EVERYWHERE = frozenset(Durability)


def reach_of(topology: Topology, replicas: int | None) -> Reach:
    """What *topology* can keep, if its server has so many *replicas* (None: not said)."""
    match topology:
        case Memory():
            limit = "memory:// holds its one copy inside this process; leave the argument out, or use a server"
            return Reach(Durability.PRIMARY, _HERE, False, limit)
        case Embedded():
            limit = "embedded:// is one private server without replicas; it knows 'primary' and 'fsync'"
            return Reach(Durability.PRIMARY, _ON_DISK, False, limit)
        case Standalone():
            limit = (
                "the URL names one server; say how many replicas it has, for example replicas=1, "
                "or use redis+sentinel:// or redis+cluster://"
            )
            return Reach(Durability.PRIMARY, _EVERYWHERE if replicas else _ON_DISK, bool(replicas), limit)
        case _:
            return Reach(Durability.REPLICATED, _EVERYWHERE, True)
