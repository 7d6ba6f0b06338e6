"""Finds every node of a deployment, and has all of them asked at once."""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio

from secure_queue.doctor.asking import ask_node
from secure_queue.doctor.facts import Kind, NodeFacts, Role
from secure_queue.doctor.parsing import attached
from secure_queue.errors import SecureQueueError
from secure_queue.redis.topology import Cluster, Sentinel, Standalone, at

T = TypeVar("T")


async def gather(topology: Standalone | Sentinel | Cluster) -> tuple[Kind, list[NodeFacts]]:
    """All nodes that the topology leads to, the primaries first."""
    match topology:
        case Standalone():
            return Kind.STANDALONE, await _with_its_replicas(topology)
        case Sentinel():
            return Kind.SENTINEL, await _watched(topology)
        case Cluster():
            return Kind.CLUSTER, await _whole_cluster(topology)


async def _with_its_replicas(server: Standalone) -> list[NodeFacts]:
    first = await ask_node(server, Role.PRIMARY)
    listed = attached(first.told) if server.unix_path is None else []
    others = [at(server, one["ip"], int(one["port"])) for one in listed if {"ip", "port"} <= one.keys()]
    return [first, *await _ask_all([(other, Role.REPLICA) for other in others])]


async def _watched(topology: Sentinel) -> list[NodeFacts]:
    """The sentinels that are named and those that they know, the primary of the youngest epoch, and all replicas."""
    named = [(monitor, Role.SENTINEL) for monitor in topology.monitors]
    sentinels = await _ask_all(named, master=topology.master)
    known = {str(monitor) for monitor in topology.monitors} | {node.told.get("info.run_id", "") for node in sentinels}
    others = _addresses(sentinels, "peers.all", known)
    like = topology.monitors[0]
    more = await _ask_all([(at(like, *one), Role.SENTINEL) for one in others], master=topology.master)
    sentinels += without_doubles(
        sentinels, more, [f"{host}:{port}" for host, port in _addresses(sentinels, "peers.all")]
    )
    told = [node for node in sentinels if "master.address" in node.told]
    if not told:
        return sentinels
    best = max(told, key=lambda node: float(node.told.get("master.config-epoch", 0)))
    host, _, port = best.told["master.address"].rpartition(":")
    servers = [(at(topology.primary, host, int(port)), Role.PRIMARY)]
    servers += [(at(topology.primary, *one), Role.REPLICA) for one in _addresses([best], "replicas.all")]
    return [*await _ask_all(servers), *sentinels]


def without_doubles(named: list[NodeFacts], more: list[NodeFacts], listed: Container[str]) -> list[NodeFacts]:
    """*more* without the sentinels that are down and among *named* already, there by host name, here by the address.

    Which of them it is nobody can tell, so as many are left out as there are silent ones under names that nobody lists.
    """
    silent = sum(bool(node.problem) and node.name not in listed for node in named)
    doubles = [node for node in more if node.problem][:silent]
    return [node for node in more if node not in doubles]


def _addresses(nodes: Iterable[NodeFacts], name: str, known: Container[str] = ()) -> list[tuple[str, int]]:
    """Hosts and ports of the servers that *nodes* list under *name* and that are not *known* by address or run id."""
    words = [word for node in nodes for word in node.told.get(name, "").split()]
    listed = zip(words[::3], words[1::3], words[2::3], strict=True)
    new = [(host, int(port)) for host, port, run_id in listed if not (f"{host}:{port}" in known or run_id in known)]
    return list(dict.fromkeys(new))


async def _whole_cluster(topology: Cluster) -> list[NodeFacts]:
    """The seeds, and every node that any of them knows."""
    seeds = await _ask_all([(seed, Role.PRIMARY) for seed in topology.seeds], in_cluster=True)
    known = {str(seed) for seed in topology.seeds}
    known |= {member.node_id for node in seeds for member in node.members if "myself" in member.flags}
    found: dict[str, Role] = {}
    for member in (member for node in seeds for member in node.members):
        if not ({member.name, member.node_id} & known or {"noaddr", "handshake"} & member.flags):
            found[member.name] = Role.REPLICA if "slave" in member.flags else Role.PRIMARY
    nodes = [*seeds, *await _ask_all([(_named(topology, name), role) for name, role in found.items()], in_cluster=True)]
    return sorted(nodes, key=lambda node: node.role is not Role.PRIMARY)


def _named(topology: Cluster, name: str) -> Standalone:
    host, _, port = name.rpartition(":")
    return at(topology.seeds[0], host, int(port))


async def _ask_all(servers: Sequence[tuple[Standalone, Role]], **more: Any) -> list[NodeFacts]:
    return await together([partial(ask_node, *one, **more) for one in servers])


async def together(questions: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
    """The answers to all *questions*, asked at once; raises what the first one raises that cannot be asked."""
    answers: dict[int, T] = {}
    problems: list[SecureQueueError] = []

    async def answer(place: int, question: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            answers[place] = await question()
        except SecureQueueError as error:  # kept out of the group, which would wrap it
            problems.append(error)

    async with anyio.create_task_group() as group:
        for place, question in enumerate(questions):
            group.start_soon(answer, place, question)
    if problems:
        raise problems[0]
    return [answers[place] for place in range(len(questions))]
