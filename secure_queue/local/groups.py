"""A server with replicas, a Sentinel group and a Cluster on loopback: how their processes are started and joined."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from secure_queue.errors import EmbeddedServerError
from secure_queue.local.access import LOOPBACK
from secure_queue.local.layout import ANY_LAYOUT, CLUSTER, DATA, MASTER, SENTINELS, Layout
from secure_queue.local.logins import with_passwords
from secure_queue.local.node import POLL_S, START_S, Node
from secure_queue.local.private import write_private
from secure_queue.local.survey import replication
from secure_queue.redis.retrying import is_server_fault
from secure_queue.redis.slots import SLOTS

REUNION_S = 3.0


class Group(ABC):
    """The processes of one topology, and the folder that holds their data."""

    _configuration = DATA

    def __init__(self, binary: Path, folder: Path | None = None, *, layout: Layout = ANY_LAYOUT) -> None:
        self._is_temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="sqg-")) if folder is None else folder
        self.access = layout.access
        self._binary = binary
        self._layout = layout
        self.nodes: list[Node] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """What an application connects to."""

    async def start(self) -> None:
        """Start every process and wait until the topology is complete."""
        self._write_users()
        is_new = not any(node.was_started_before for node in self.nodes)
        await self._run(*self.nodes)
        if is_new:
            await self._introduce()
        await self._join()

    async def _run(self, *nodes: Node) -> None:
        for node in nodes:
            node.start()
        for node in nodes:
            await node.answering()

    async def _introduce(self) -> None:  # noqa: B027 - most topologies are introduced by their files
        """Make processes that were never started before know each other, where their files do not."""

    @abstractmethod
    async def _join(self) -> None:
        """Wait until the topology is complete."""

    def stop(self) -> None:
        """End every process in good order: who watches and who copies before who is watched and copied."""
        for node in reversed(self.nodes):
            node.stop()

    def close(self) -> None:
        """End every process; data in a temporary folder goes."""
        for node in self.nodes:
            node.kill()
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _server(self, name: str, options: dict[str, str] | None = None) -> Node:
        shared = self._configuration if self._layout.servers is None else self._layout.servers
        return self._node(name, {**self.access.on_server(), **(options or {})}, shared)

    def _node(self, name: str, options: dict[str, str], shared: str, *, is_sentinel: bool = False) -> Node:
        named = len(self.nodes) < len(self._layout.ports)
        port = self._layout.ports[len(self.nodes)] if named else None
        node = Node(
            name,
            self.folder,
            self._binary,
            options,
            is_sentinel=is_sentinel,
            port=port,
            access=self.access,
            shared=shared,
        )
        self.nodes.append(node)
        return node

    def _write_users(self) -> None:
        if self.access.logins is not None:
            for path, users in (
                (self.access.server_acl, self._layout.server_users),
                (self.access.sentinel_acl, self._layout.sentinel_users),
            ):
                write_private(path, with_passwords(users, self.access.logins).encode())


class StandaloneGroup(Group):
    """One server, and as many replicas of it as asked for; nobody promotes one."""

    def __init__(
        self, binary: Path, folder: Path | None = None, *, replicas: int = 0, layout: Layout = ANY_LAYOUT
    ) -> None:
        super().__init__(binary, folder, layout=layout)
        first = self._server("server-0")
        follow = {"replicaof": f"{LOOPBACK} {first.port}"}
        self.servers = [first, *(self._server(f"server-{number + 1}", follow) for number in range(replicas))]

    @property
    def url(self) -> str:
        return self.access.url("", [self.servers[0].port])

    async def _join(self) -> None:
        await until(self._has_its_replicas, "the replicas did not connect to their primary")

    async def _has_its_replicas(self) -> bool:
        return await linked_replicas(self.servers[0]) == len(self.servers) - 1


class SentinelGroup(Group):
    """A primary, two replicas, and three sentinels that watch them under the name ``mymaster``."""

    def __init__(
        self,
        binary: Path,
        folder: Path | None = None,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        layout: Layout = ANY_LAYOUT,
    ) -> None:
        super().__init__(binary, folder, layout=layout)
        first = self._server("server-0")
        follow = {"replicaof": f"{LOOPBACK} {first.port}"}
        self.servers = [first, *(self._server(f"server-{number + 1}", follow) for number in range(replicas))]
        watch = {
            "sentinel monitor": f"{MASTER} {LOOPBACK} {first.port} {sentinels // 2 + 1}",
            **self.access.on_sentinel(MASTER),
        }
        shared = SENTINELS if layout.sentinels is None else layout.sentinels
        self.sentinels = [
            self._node(f"sentinel-{number}", watch, shared, is_sentinel=True) for number in range(sentinels)
        ]
        self._acquaint(self.sentinels)

    def _acquaint(self, sentinels: Sequence[Node]) -> None:
        """Let them begin with what they would find out about each other and the replicas within two seconds."""
        ids = {node: os.urandom(20).hex() for node in sentinels}
        replicas = {f"sentinel known-replica {MASTER} {LOOPBACK} {node.port}": "" for node in self.servers[1:]}
        for node, own in ids.items():
            peers = {
                f"sentinel known-sentinel {MASTER} {LOOPBACK} {other.port}": name
                for other, name in ids.items()
                if other is not node
            }
            node.knows({"sentinel myid": own, **replicas, **peers})

    @property
    def url(self) -> str:
        return self.access.url("+sentinel", [node.port for node in self.sentinels], f"/{MASTER}")

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

    async def _run(self, *nodes: Node) -> None:
        """First the servers: sentinels would promote one that has not copied anything yet.

        Those of an earlier life may both take themselves for the primary; then only the sentinels can end it.
        """
        is_new = not any(node.was_started_before for node in nodes)
        await super()._run(*(node for node in nodes if not node.is_sentinel))
        with anyio.move_on_after(START_S if is_new else REUNION_S):
            await until(self._replicas_are_linked, "the replicas did not connect to their primary")
        await super()._run(*(node for node in nodes if node.is_sentinel))

    async def _replicas_are_linked(self) -> bool:
        return sum([await linked_replicas(node) for node in self.servers]) == len(self.servers) - 1

    async def _join(self) -> None:
        await until(self._all_know_each_other, "the sentinels and replicas did not find each other")

    async def _all_know_each_other(self) -> bool:
        for sentinel in self.sentinels:
            facts = as_dict(await sentinel.command("SENTINEL", "MASTER", MASTER))
            wanted = len(self.sentinels) - 1, len(self.servers) - 1
            if (int(facts[b"num-other-sentinels"]), int(facts[b"num-slaves"])) != wanted:
                return False
            if not await self._reaches_everybody(sentinel):
                return False
        return await linked_replicas(await self.primary()) == len(self.servers) - 1

    async def _reaches_everybody(self, sentinel: Node) -> bool:
        """Whether it is connected to the others, and has asked each replica how it is."""
        others = [as_dict(each) for each in await sentinel.command("SENTINEL", "SENTINELS", MASTER)]
        replicas = [as_dict(each) for each in await sentinel.command("SENTINEL", "REPLICAS", MASTER)]
        return all(each[b"flags"] == b"sentinel" for each in others) and all(
            each[b"master-link-status"] == b"ok" for each in replicas
        )


class ClusterGroup(Group):
    """Three primaries that share the slots, and one replica of each."""

    _configuration = CLUSTER

    def __init__(
        self,
        binary: Path,
        folder: Path | None = None,
        *,
        primaries: int = 3,
        replicas: int = 1,
        layout: Layout = ANY_LAYOUT,
    ) -> None:
        super().__init__(binary, folder, layout=layout)
        bus = {"tls-cluster": "yes"} if self._bus_speaks_tls else {}
        self.primaries = [self._server(f"primary-{number}", bus) for number in range(primaries)]
        self.replicas = [self._server(f"replica-{number}", bus) for number in range(primaries * replicas)]

    @property
    def _bus_speaks_tls(self) -> bool:
        return self.access.certificates is not None

    @property
    def url(self) -> str:
        return self.access.url("+cluster", [node.port for node in self.primaries])

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

    async def _introduce(self) -> None:
        for epoch, node in enumerate(self.nodes, start=1):
            await node.command("CLUSTER", "SET-CONFIG-EPOCH", str(epoch))
        first, *others = self.nodes
        for node in others:
            await first.command("CLUSTER", "MEET", LOOPBACK, str(node.port), *self._bus_port(node))
        for number, node in enumerate(self.primaries):
            begin, end = (SLOTS * at // len(self.primaries) for at in (number, number + 1))
            await node.command("CLUSTER", "ADDSLOTS", *map(str, range(begin, end)))
        await until(self._all_see_each_other, "the cluster nodes did not find each other")
        for number, replica in enumerate(self.replicas):
            name: bytes = await self.primaries[number % len(self.primaries)].command("CLUSTER", "MYID")
            await replica.command("CLUSTER", "REPLICATE", name.decode())

    def _bus_port(self, node: Node) -> Sequence[str]:
        """The bus port of *node*, where it is not 10,000 above its port."""
        return ()

    async def _join(self) -> None:
        await until(self._is_complete, "the cluster did not become healthy")

    async def _all_see_each_other(self) -> bool:
        return all([(await cluster_info(node))["cluster_known_nodes"] == str(len(self.nodes)) for node in self.nodes])

    async def _is_complete(self) -> bool:
        states = [(await cluster_info(node))["cluster_state"] for node in self.nodes]
        linked = sum([await linked_replicas(node) for node in self.nodes])
        return set(states) == {"ok"} and linked == len(self.replicas)


async def until_copied(node: Node, copies: int, *, patience: float = START_S) -> None:
    """Wait until so many replicas of *node* hold what it has written by now; what it writes meanwhile does not count.

    Raises ``EmbeddedServerError`` if that takes longer than *patience* seconds.
    """
    written = (await replication(node)).written

    async def is_copied() -> bool:
        return sum(offset >= written for offset in (await replication(node)).copied) >= copies

    await until(is_copied, f"{copies} replicas did not catch up with {node.name}", patience=patience)


async def until(condition: Callable[[], Awaitable[bool]], problem: str, *, patience: float = START_S) -> None:
    """Wait for *condition*; raises ``EmbeddedServerError`` with *problem* after *patience* seconds."""
    with anyio.move_on_after(patience):
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
