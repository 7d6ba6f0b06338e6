"""A Sentinel group and a Cluster on loopback: how their processes are configured, started and made to know each other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from secure_queue.errors import EmbeddedServerError
from secure_queue.local.node import LOOPBACK, POLL_S, START_S, Node
from secure_queue.redis.retrying import is_server_fault
from secure_queue.redis.slots import SLOTS

MASTER = "mymaster"
DOWN_AFTER_MS, FAILOVER_TIMEOUT_MS, NODE_TIMEOUT_MS = 1000, 5000, 1000
_DATA = {
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
}


class Group:
    """The processes of one topology, and the folder that holds their data."""

    def __init__(self, binary: Path, folder: Path | None = None) -> None:
        self._is_temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="sqg-")) if folder is None else folder
        self._binary = binary
        self.nodes: list[Node] = []

    @property
    def url(self) -> str:
        """What an application connects to."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start every process and wait until the topology is complete."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await node.answering()
        await self._join()

    async def _join(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """End every process; data in a temporary folder goes."""
        for node in self.nodes:
            node.kill()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _node(self, name: str, options: dict[str, str], *, is_sentinel: bool = False) -> Node:
        node = Node(name, self.folder, self._binary, options, is_sentinel=is_sentinel)
        self.nodes.append(node)
        return node


class SentinelGroup(Group):
    """A primary, two replicas, and three sentinels that watch them under the name ``mymaster``."""

    def __init__(self, binary: Path, folder: Path | None = None, *, replicas: int = 2, sentinels: int = 3) -> None:
        super().__init__(binary, folder)
        first = self._node("server-0", _DATA)
        follow = {**_DATA, "replicaof": f"{LOOPBACK} {first.port}"}
        self.servers = [first, *(self._node(f"server-{number + 1}", follow) for number in range(replicas))]
        watch = {
            "sentinel monitor": f"{MASTER} {LOOPBACK} {first.port} {sentinels // 2 + 1}",
            "sentinel down-after-milliseconds": f"{MASTER} {DOWN_AFTER_MS}",
            "sentinel failover-timeout": f"{MASTER} {FAILOVER_TIMEOUT_MS}",
        }
        self.sentinels = [self._node(f"sentinel-{number}", watch, is_sentinel=True) for number in range(sentinels)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{LOOPBACK}:{node.port}' for node in self.sentinels)}/{MASTER}"

    async def primary(self) -> Node:
        """The server that the first sentinel which answers takes for the primary."""
        for sentinel in self.sentinels:
            try:
                _, port = await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            except Exception as error:
                if not is_server_fault(error):
                    raise
                continue
            return next(node for node in self.servers if node.port == int(port))
        raise EmbeddedServerError("no sentinel answers")

    async def _join(self) -> None:
        await until(self._all_know_each_other, "the sentinels and replicas did not find each other")

    async def _all_know_each_other(self) -> bool:
        for sentinel in self.sentinels:
            facts = as_dict(await sentinel.command("SENTINEL", "MASTER", MASTER))
            wanted = len(self.sentinels) - 1, len(self.servers) - 1
            if (int(facts[b"num-other-sentinels"]), int(facts[b"num-slaves"])) != wanted:
                return False
        return await linked_replicas(self.servers[0]) == len(self.servers) - 1


class ClusterGroup(Group):
    """Three primaries that share the slots, and one replica of each."""

    def __init__(self, binary: Path, folder: Path | None = None, *, primaries: int = 3) -> None:
        super().__init__(binary, folder)
        options = {
            **_DATA,
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": "0",
        }
        self.primaries = [self._node(f"primary-{number}", options) for number in range(primaries)]
        self.replicas = [self._node(f"replica-{number}", options) for number in range(primaries)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{node.port}' for node in self.primaries)}"

    async def owner(self, slot: int) -> Node:
        """The node that serves *slot*, as the nodes of the majority see it."""
        votes: dict[int, int] = {}
        for node in self.nodes:
            try:
                slots = await node.command("CLUSTER", "SLOTS")
            except Exception as error:
                if not is_server_fault(error):
                    raise
                continue
            for first, last, server, *_ in slots:
                if first <= slot <= last:
                    votes[int(server[1])] = votes.get(int(server[1]), 0) + 1
        port = max(votes, key=lambda one: votes[one])
        return next(node for node in self.nodes if node.port == port)

    async def _join(self) -> None:
        for epoch, node in enumerate(self.nodes, start=1):
            await node.command("CLUSTER", "SET-CONFIG-EPOCH", str(epoch))
        first, *others = self.nodes
        for node in others:
            await first.command("CLUSTER", "MEET", LOOPBACK, str(node.port))
        for number, node in enumerate(self.primaries):
            begin, end = (SLOTS * at // len(self.primaries) for at in (number, number + 1))
            await node.command("CLUSTER", "ADDSLOTS", *map(str, range(begin, end)))
        await until(self._all_see_each_other, "the cluster nodes did not find each other")
        for primary, replica in zip(self.primaries, self.replicas, strict=True):
            name: bytes = await primary.command("CLUSTER", "MYID")
            await replica.command("CLUSTER", "REPLICATE", name.decode())
        await until(self._is_complete, "the cluster did not become healthy")

    async def _all_see_each_other(self) -> bool:
        return all([(await cluster_info(node))["cluster_known_nodes"] == str(len(self.nodes)) for node in self.nodes])

    async def _is_complete(self) -> bool:
        states = [(await cluster_info(node))["cluster_state"] for node in self.nodes]
        return set(states) == {"ok"} and all([await linked_replicas(node) == 1 for node in self.primaries])


async def until(condition: Callable[[], Awaitable[bool]], problem: str) -> None:
    """Wait for *condition*; raises ``EmbeddedServerError`` with *problem* if it takes too long."""
    with anyio.move_on_after(START_S):
        while not await condition():  # noqa: ASYNC110 - other processes are waited for
            await anyio.sleep(POLL_S)
        return
    raise EmbeddedServerError(problem)


async def linked_replicas(node: Node) -> int:
    """How many replicas of *node* are connected and up to date."""
    raw: bytes = await node.command("INFO", "replication")
    return raw.count(b"state=online")


async def cluster_info(node: Node) -> dict[str, str]:
    """``CLUSTER INFO`` of one node."""
    raw: bytes = await node.command("CLUSTER", "INFO")
    return dict(line.partition(":")[::2] for line in raw.decode().splitlines())


def as_dict(reply: Any) -> dict[bytes, bytes]:
    """A map in the form of RESP2 or RESP3."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
