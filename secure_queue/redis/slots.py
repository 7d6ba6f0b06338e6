"""Asks the nodes of a cluster who owns the slots of a queue: only nodes in a healthy majority count.

A node that was cut off, or comes back from a pause, still believes in the old layout; it knows an older epoch than the
others, or says itself that its cluster is down (HA.md, fact 5).
"""

from __future__ import annotations

import binascii
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

import anyio
from coredis.exceptions import PrimaryNotFoundError, ResponseError, UnknownCommandError

from secure_queue.errors import TopologyError
from secure_queue.redis.following import Found
from secure_queue.redis.informants import Address, Informant, Informants
from secure_queue.redis.topology import Cluster, at

SLOTS = 16_384
AGAIN_S = 0.3
"""What the nodes said is not asked again for so long: the links of all partitions ask, each in its own time."""


def slot_of(tag: bytes) -> int:
    """The slot of a hash tag: CRC16-XMODEM modulo 16,384, as the Redis Cluster specification says."""
    return binascii.crc_hqx(tag, 0) % SLOTS


class _Shard(NamedTuple):
    """A range of slots, who owns it, and how many replicas the owner has."""

    first: int
    last: int
    primary: Address
    replicas: int


class _Answer(NamedTuple):
    """What *node* believes: the *shards* (first and last slot, primary, replicas), and all *nodes* that it knows."""

    node: Address
    healthy: bool
    epoch: int
    shards: list[_Shard]
    nodes: list[Address]


class ClusterMap:
    """Who owns which slot: one look serves the links of all partitions of a process."""

    def __init__(self, topology: Cluster) -> None:
        self._like = topology.seeds[0]
        self._nodes = Informants(topology.seeds, self._question)
        self._one_at_a_time = anyio.Lock()
        self._asked_at = float("-inf")
        self._heard: list[_Answer] = []

    async def __aenter__(self) -> Self:
        await self._nodes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._nodes.__aexit__(kind, error, trace)

    async def find(self, slot: int) -> Found:
        """The owner of *slot* now; raises ``PrimaryNotFoundError`` for the moment and ``ConfigurationError`` for good."""
        answers = await self._look()
        healthy = [answer for answer in answers if answer.healthy]
        if not answers:
            raise PrimaryNotFoundError(f"0 of {len(self._nodes)} cluster nodes answer{self._nodes.because()}")
        if not healthy:
            raise PrimaryNotFoundError(
                f"{len(answers)} of {len(self._nodes)} cluster nodes answer, and none of them says cluster_state:ok; "
                "look at CLUSTER INFO and CLUSTER NODES there"
            )
        best = max(healthy, key=lambda answer: answer.epoch)
        self._nodes.ask_only(*(at(self._like, host, port) for host, port in best.nodes))
        shard = next((shard for shard in best.shards if shard.first <= slot <= shard.last), None)
        if shard is None:
            raise PrimaryNotFoundError(f"slot {slot} of this queue is covered by no node; redis-cli --cluster fix")
        primaries = {shard.primary for shard in best.shards}
        heard = primaries.intersection(answer.node for answer in healthy)
        return Found(at(self._like, *shard.primary), shard.replicas, is_confirmed=2 * len(heard) > len(primaries))

    async def _look(self) -> list[_Answer]:
        """What the nodes say; many links may ask at once, and one look that began when they asked is enough for all."""
        wanted_at = monotonic()
        async with self._one_at_a_time:
            if self._asked_at < wanted_at - AGAIN_S:
                asked_at = monotonic()
                self._heard, _ = await self._nodes.hear()
                self._asked_at = asked_at
            return self._heard

    async def _question(self, node: Informant) -> _Answer:
        try:
            raw: bytes = await node.ask(b"CLUSTER", b"INFO")
            slots = await node.ask(b"CLUSTER", b"SLOTS")
        except ResponseError as error:
            if "cluster support disabled" in str(error) or isinstance(
                error, UnknownCommandError
            ):  # the latter a sentinel
                raise TopologyError(f"{node.server} is no cluster node; use a redis:// URL for it") from error
            raise
        info = dict(line.partition(b":")[::2] for line in raw.splitlines())
        here = node.server.host
        return _Answer(
            (here, node.server.port),
            info[b"cluster_state"] == b"ok",
            int(info[b"cluster_current_epoch"]),
            [_Shard(first, last, _address(owner, here), len(replicas)) for first, last, owner, *replicas in slots],
            list(dict.fromkeys(_address(server, here) for _, _, *servers in slots for server in servers)),
        )


class ClusterLocator:
    """Finds the primary of the slot of *tag* on a map that others use too, and that is open."""

    def __init__(self, known: ClusterMap, tag: bytes) -> None:
        self._map = known
        self._slot = slot_of(tag)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def locate(self) -> Found:
        return await self._map.find(self._slot)


def _address(server: Any, here: str) -> Address:
    """A node that does not know its own address is where the answer came from."""
    host = (server[0] or b"").decode()
    return (here if host in ("", "?") else host), int(server[1])
