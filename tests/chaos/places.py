"""The topologies of the table, each with what a fault asks of it: who serves the queue now, who copies it, is all well."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from secure_queue.local.access import LOOPBACK, Access
from secure_queue.local.certificates import make_certificates
from secure_queue.local.groups import (
    ClusterGroup,
    Group,
    SentinelGroup,
    StandaloneGroup,
    cluster_info,
    linked_replicas,
    until,
)
from secure_queue.local.layout import ANY_LAYOUT, MASTER, Layout
from secure_queue.local.node import Node
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.slots import SLOTS, slot_of
from tests.chaos.app import QUEUE
from tests.chaos.proxy import Proxy

KEYS = QueueKeys(QUEUE, ["normal"])
SLOT = slot_of(KEYS.tag)


class Place(ABC):
    """A topology; *servers* hold data, *sentinels* watch them, and *proxies* stand before either, if there are any."""

    def __init__(self, group: Group, servers: list[Node], sentinels: list[Node]) -> None:
        self.group = group
        self.servers = servers
        self.sentinels = sentinels
        self.proxies: list[Proxy] = []
        self.folders: list[Path] = []
        """What else goes at the end."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From its first process to its last."""
        try:
            await self.group.start()
            async with AsyncExitStack() as stack:
                for proxy in self.proxies:
                    await stack.enter_async_context(proxy.serving())
                await self.announce()
                yield
        finally:
            self.group.close()
            for folder in self.folders:
                shutil.rmtree(folder, ignore_errors=True)

    async def announce(self) -> None:  # noqa: B027 - most have no proxies
        """Make the proxies known as the way to what stands behind them."""

    @property
    def url(self) -> str:
        """What the application connects to."""
        return self.group.url

    @abstractmethod
    async def primary(self, slot: int = SLOT) -> Node:
        """The server that holds the queue, or in a cluster another *slot*."""

    @abstractmethod
    async def replicas(self, slot: int = SLOT) -> list[Node]:
        """The servers that copy that one."""

    @abstractmethod
    async def is_well(self) -> bool:
        """Whether every server is in its place and every copy is up to date."""


class Single(Place):
    """One server."""

    def __init__(self, binary: Path) -> None:
        group = StandaloneGroup(binary)
        super().__init__(group, group.servers, [])

    async def primary(self, slot: int = SLOT) -> Node:
        return self.servers[0]

    async def replicas(self, slot: int = SLOT) -> list[Node]:
        return []

    async def is_well(self) -> bool:
        return bool(await self.servers[0].command("PING"))


class Watched(Place):
    """A primary with two replicas, watched by three sentinels."""

    def __init__(self, binary: Path, layout: Layout = ANY_LAYOUT) -> None:
        self._watched = SentinelGroup(binary, layout=layout)
        super().__init__(self._watched, self._watched.servers, self._watched.sentinels)

    async def primary(self, slot: int = SLOT) -> Node:
        return await self._watched.primary()

    async def replicas(self, slot: int = SLOT) -> list[Node]:
        primary = await self.primary()
        return [node for node in self.servers if node is not primary]

    async def is_well(self) -> bool:
        for sentinel in self.sentinels:
            await sentinel.command("PING")
        return await linked_replicas(await self.primary()) == len(self.servers) - 1


class Sharded(Place):
    """Three shards of a primary and a replica each."""

    def __init__(self, binary: Path, layout: Layout = ANY_LAYOUT) -> None:
        self._cluster = ClusterGroup(binary, layout=layout)
        super().__init__(self._cluster, self._cluster.nodes, [])

    async def primary(self, slot: int = SLOT) -> Node:
        return await self._cluster.owner(slot)

    async def replicas(self, slot: int = SLOT) -> list[Node]:
        primary = await self.primary(slot)
        for first, last, _, *copies in await primary.command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                ports = {int(copy[1]) for copy in copies}
                return [node for node in self.servers if node.port in ports]
        return []

    async def is_well(self) -> bool:
        states = [(await cluster_info(node))["cluster_state"] for node in self.servers]
        linked = [await linked_replicas(node) for node in self.servers]
        return set(states) == {"ok"} and sum(linked) == len(self.servers) // 2


class SingleBehindProxy(Single):
    """One server that is reached through a proxy."""

    def __init__(self, binary: Path) -> None:
        super().__init__(binary)
        self.proxies = [Proxy(self.servers[0].port)]

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.proxies[0].port}"


class WatchedBehindProxy(Watched):
    """A Sentinel group whose primary is known to the sentinels by its proxy."""

    def __init__(self, binary: Path) -> None:
        super().__init__(binary)
        self.proxies = [Proxy(self.servers[0].port)]

    async def announce(self) -> None:
        quorum = str(len(self.sentinels) // 2 + 1)
        for sentinel in self.sentinels:
            await sentinel.command("SENTINEL", "REMOVE", MASTER)
            await sentinel.command("SENTINEL", "MONITOR", MASTER, LOOPBACK, str(self.proxies[0].port), quorum)

    async def primary(self, slot: int = SLOT) -> Node:
        return self.servers[0]


class ShardedBehindProxy(Sharded):
    """A cluster in which the owner of the queue is known by its proxy."""

    def __init__(self, binary: Path) -> None:
        super().__init__(binary)
        self._owner = self._cluster.primaries[SLOT * len(self._cluster.primaries) // SLOTS]
        self.proxies = [Proxy(self._owner.port)]

    async def announce(self) -> None:
        await self._owner.command("CONFIG", "SET", "cluster-announce-port", str(self.proxies[0].port))
        await until(self._is_known_by_its_proxy, "the nodes do not learn the port of the proxy")

    async def _is_known_by_its_proxy(self) -> bool:
        for node in self.servers:
            slots = await node.command("CLUSTER", "SLOTS")
            if not any(int(owner[1]) == self.proxies[0].port for _, _, owner, *_ in slots):
                return False
        return True

    async def primary(self, slot: int = SLOT) -> Node:
        return self._owner


class WatchedThroughProxies(Watched):
    """A Sentinel group whose sentinels the application reaches through proxies, and its servers directly."""

    def __init__(self, binary: Path) -> None:
        super().__init__(binary)
        self.proxies = [Proxy(sentinel.port) for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{LOOPBACK}:{proxy.port}' for proxy in self.proxies)}/{MASTER}"


def over_tls(kind: Callable[[Path, Layout], Place]) -> Callable[[Path], Place]:
    """The same *kind* of place with an authority of its own; every server, sentinel and client shows a certificate."""

    def place(binary: Path) -> Place:
        folder = Path(tempfile.mkdtemp(prefix="sqg-tls-"))
        made = kind(binary, Layout(access=Access(certificates=make_certificates(folder))))
        made.folders.append(folder)
        return made

    return place
