"""Facts about deployments in which all is well, and ways to spoil them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from secure_queue.doctor.facts import (
    SLOTS,
    Facts,
    Kind,
    Member,
    NodeFacts,
    PartitionFacts,
    QueueFacts,
    Rehearsal,
    Role,
    Step,
    StoredFacts,
)

SERVER = {
    "login": "yes",
    "tls.version": "TLSv1.3",
    "tls.checks_name": "yes",
    "tls.days": "80",
    "info.redis_version": "7.0.15",
    "info.maxmemory_policy": "noeviction",
    "info.maxmemory": str(8 << 30),
    "info.used_memory": str(1 << 30),
    "info.mem_fragmentation_ratio": "1.1",
    "info.aof_enabled": "1",
    "info.aof_last_write_status": "ok",
    "info.rdb_last_bgsave_status": "ok",
    "info.latest_fork_usec": "900",
    "info.connected_clients": "20",
    "info.cluster_enabled": "0",
    "config.save": "",
    "config.appendfsync": "everysec",
    "config.stop-writes-on-bgsave-error": "yes",
    "config.maxclients": "10000",
    "config.timeout": "0",
    "config.tcp-keepalive": "300",
    "config.client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "config.min-replicas-to-write": "0",
    "config.repl-backlog-size": str(64 << 20),
    "clock.skew_ms": "3.5",
    "clock.slack_ms": "1",
    "acl.user": "queue",
    "acl.dangerous": "",
}
PRIMARY = SERVER | {"info.connected_slaves": "2", "info.slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0"}
REPLICA = SERVER | {"info.master_link_status": "up", "info.slave_read_only": "1", "info.slave_priority": "100"}
SENTINEL = {
    "login": "yes",
    "tls.version": "TLSv1.3",
    "info.redis_version": "7.0.15",
    "master.name": "mymaster",
    "master.address": "10.0.0.1:6379",
    "master.config-epoch": "4",
    "master.quorum": "2",
    "master.num-other-sentinels": "2",
    "master.flags": "master",
    "master.down-after-milliseconds": "5000",
    "replicas.down": "",
}
CLUSTER = {
    "info.cluster_enabled": "1",
    "cluster.cluster_state": "ok",
    "cluster.cluster_slots_fail": "0",
    "cluster.cluster_slots_pfail": "0",
    "cluster.cluster_current_epoch": "6",
    "cluster.nodes": "6",
    "config.cluster-node-timeout": "5000",
    "config.cluster-require-full-coverage": "no",
    "config.cluster-allow-reads-when-down": "no",
}
PARTITION = PartitionFacts(
    tag="shop/0",
    key_prefix="sq:{shop/0}:",
    primary="10.0.0.1:6379",
    server_slot=7,
    own_slot=7,
    rehearsal=Rehearsal((Step("enqueue", 1.5), Step("claim", 2.0)), replicas=2, confirmed=2),
    queue=QueueFacts(workers=2, ready=3, oldest_ready_ms=400),
    stored=StoredFacts(5, {"valid": 5}),
)


def node(number: int, role: Role, told: dict[str, str], members: tuple[Member, ...] = ()) -> NodeFacts:
    """A node on a machine of its own."""
    host = f"10.0.0.{number}"
    port = 26379 if role is Role.SENTINEL else 6379
    return NodeFacts(f"{host}:{port}", host, role, told=told, members=members)


def member(number: int, slots: int, primary: int = 0, *flags: str, opened: tuple[str, ...] = ()) -> Member:
    """A node of the cluster: a primary with slots, or the replica of one."""
    kind = "slave" if primary else "master"
    return Member(f"id{number}", f"10.0.0.{number}:6379", frozenset((kind, *flags)), _id(primary), slots, opened)


def _id(number: int) -> str:
    return f"id{number}" if number else ""


SHARES = (5461, 5461, SLOTS - 2 * 5461)
MEMBERS = (*(member(n + 1, SHARES[n]) for n in range(3)), *(member(n + 4, 0, n + 1) for n in range(3)))

WELL = {
    Kind.STANDALONE: Facts(
        "10.0.0.1:6379",
        Kind.STANDALONE,
        (node(1, Role.PRIMARY, SERVER | {"info.connected_slaves": "0"}),),
        (PARTITION,),
    ),
    Kind.SENTINEL: Facts(
        "sentinel mymaster",
        Kind.SENTINEL,
        (
            node(1, Role.PRIMARY, PRIMARY),
            node(2, Role.REPLICA, REPLICA),
            node(3, Role.REPLICA, REPLICA),
            *(node(number, Role.SENTINEL, SENTINEL) for number in (1, 2, 3)),
        ),
        (PARTITION,),
    ),
    Kind.CLUSTER: Facts(
        "cluster",
        Kind.CLUSTER,
        (
            *(node(number, Role.PRIMARY, PRIMARY | CLUSTER, MEMBERS) for number in (1, 2, 3)),
            *(node(number, Role.REPLICA, REPLICA | CLUSTER, MEMBERS) for number in (4, 5, 6)),
        ),
        (PARTITION,),
    ),
}


def told(place: int, **changes: str) -> Any:
    """Spoil what the node at *place* tells; ``__`` stands for the dot, ``_`` for itself."""
    return lambda facts: _with_node(
        facts,
        place,
        lambda old: replace(old, told={**old.told, **{key.replace("__", "."): v for key, v in changes.items()}}),
    )


def setting(place: int, name: str, value: str) -> Any:
    """Spoil one setting, whose name may have any character."""
    return lambda facts: _with_node(facts, place, lambda old: replace(old, told={**old.told, name: value}))


def untold(place: int, name: str, why: str) -> Any:
    """Let the node at *place* refuse to tell *name*."""
    source = name.partition(".")[0]

    def spoil(old: NodeFacts) -> NodeFacts:
        left = {key: value for key, value in old.told.items() if key != name}
        return replace(old, told=left, refused={source: why})

    return lambda facts: _with_node(facts, place, spoil)


def refused(place: int, source: str, why: str) -> Any:
    """Let the node at *place* refuse one question."""
    return lambda facts: _with_node(facts, place, lambda old: replace(old, refused={source: why}))


def silent(*places: int) -> Any:
    """Let these nodes not answer."""

    def spoil(facts: Facts) -> Facts:
        for place in places:
            facts = _with_node(
                facts, place, lambda old: replace(old, problem="it does not answer", told={}, members=())
            )
        return facts

    return spoil


def without(*places: int) -> Any:
    """Take these nodes away."""
    return lambda facts: replace(facts, nodes=tuple(n for place, n in enumerate(facts.nodes) if place not in places))


def seen(number: int, **changes: Any) -> Any:
    """Let all nodes of the cluster see the member *number* differently."""

    def spoil(facts: Facts) -> Facts:
        members = tuple(replace(m, **changes) if m.node_id == f"id{number}" else m for m in MEMBERS)
        return replace(facts, nodes=tuple(replace(one, members=members) for one in facts.nodes))

    return spoil


def members(changed: tuple[Member, ...]) -> Any:
    """Let all nodes of the cluster see these members."""
    return lambda facts: replace(facts, nodes=tuple(replace(one, members=changed) for one in facts.nodes))


def partition(**changes: Any) -> Any:
    """Spoil what was learned about the queue."""
    return lambda facts: replace(facts, partitions=(replace(PARTITION, **changes),))


def host(place: int, name: str) -> Any:
    """Put the node at *place* on another machine."""
    return lambda facts: _with_node(facts, place, lambda old: replace(old, host=name))


def _with_node(facts: Facts, place: int, change: Any) -> Facts:
    nodes = list(facts.nodes)
    nodes[place] = change(nodes[place])
    return replace(facts, nodes=tuple(nodes))
