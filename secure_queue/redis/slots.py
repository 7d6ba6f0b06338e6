"""Asks the nodes of a cluster who owns the slot of a queue: only nodes in a healthy majority count.

A node that was cut off, or comes back from a pause, still believes in the old layout; it knows an older epoch than the
others, or says itself that its cluster is down (HA.md, fact 5).
"""

from __future__ import annotations

import binascii
from types import TracebackType
from typing import Any, NamedTuple, Self

from coredis.exceptions import PrimaryNotFoundError, ResponseError

from secure_queue.errors import TopologyError
from secure_queue.redis.following import Found
from secure_queue.redis.informants import Address, Informant, Informants
from secure_queue.redis.topology import Cluster, at

SLOTS = 16_384


def slot_of(tag: bytes) -> int:
    """The slot of a hash tag: CRC16-XMODEM modulo 16,384, as the Redis Cluster specification says."""
    return binascii.crc_hqx(tag, 0) % SLOTS


class _Answer(NamedTuple):
    """What *node* believes: *owner* of our slot (None: uncovered) and its *replicas*, all *primaries* and *nodes*."""

    node: Address
    healthy: bool
    epoch: int
    owner: Address | None
    replicas: int
    primaries: frozenset[Address]
    nodes: list[Address]


class ClusterLocator:
    """Finds the primary of the slot of *tag*."""

    def __init__(self, topology: Cluster, tag: bytes) -> None:
        self._slot = slot_of(tag)
        self._like = topology.seeds[0]
        self._nodes = Informants(topology.seeds, self._question)

    async def __aenter__(self) -> Self:
        await self._nodes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._nodes.__aexit__(kind, error, trace)

    async def locate(self) -> Found:
        answers, _ = await self._nodes.hear()
        healthy = [answer for answer in answers if answer.healthy]
        if not answers:
            raise PrimaryNotFoundError(f"0 of {len(self._nodes)} cluster nodes answer{self._nodes.because()}")
        if not healthy:
            raise PrimaryNotFoundError(
                f"{len(answers)} of {len(self._nodes)} cluster nodes answer, and none of them says cluster_state:ok; "
                "look at CLUSTER INFO and CLUSTER NODES there"
            )
        best = max(healthy, key=lambda answer: answer.epoch)
        for host, port in best.nodes:
            await self._nodes.add(at(self._like, host, port))
        if best.owner is None:
            raise PrimaryNotFoundError(
                f"slot {self._slot} of this queue is covered by no node; redis-cli --cluster fix"
            )
        heard = best.primaries.intersection(answer.node for answer in healthy)
        return Found(at(self._like, *best.owner), best.replicas, is_confirmed=2 * len(heard) > len(best.primaries))

    async def _question(self, node: Informant) -> _Answer:
        try:
            raw: bytes = await node.ask(b"CLUSTER", b"INFO")
            slots = await node.ask(b"CLUSTER", b"SLOTS")
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise TopologyError(f"{node.server} is no cluster node; use a redis:// URL for it") from error
            raise
        info = dict(line.partition(b":")[::2] for line in raw.splitlines())
        here = node.server.host
        shards = [
            (first <= self._slot <= last, [_address(one, here) for one in servers]) for first, last, *servers in slots
        ]
        owner, *replicas = next((servers for is_ours, servers in shards if is_ours), [None])
        return _Answer(
            (here, node.server.port),
            info[b"cluster_state"] == b"ok",
            int(info[b"cluster_current_epoch"]),
            owner,
            len(replicas),
            frozenset(servers[0] for _, servers in shards),
            list(dict.fromkeys(server for _, servers in shards for server in servers)),
        )


def _address(server: Any, here: str) -> Address:
    """A node that does not know its own address is where the answer came from."""
    host = (server[0] or b"").decode()
    return (here if host in ("", "?") else host), int(server[1])
