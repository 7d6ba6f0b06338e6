"""Opens the links to whatever a topology describes, and closes them again.

``hosted`` gives a topology that lives only in this process or machine (``embedded://``, ``memory://``) a place that
several links, of other threads and event loops too, can share; ``open_links`` opens the way to all partitions of a queue,
``open_link`` to one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol
from uuid import uuid4

from anyio.abc import TaskGroup

from secure_queue.background import beside
from secure_queue.redis.clear_text import warn_of_clear_text
from secure_queue.redis.coredis_link import CoredisLink
from secure_queue.redis.dialing import pool_for
from secure_queue.redis.following import Follower, Locator
from secure_queue.redis.history import History
from secure_queue.redis.link import Link
from secure_queue.redis.memory import MemoryLink, MemoryServer, open_memory
from secure_queue.redis.sentinels import SentinelLocator
from secure_queue.redis.slots import ClusterLocator, ClusterMap
from secure_queue.redis.topology import Cluster, Embedded, Memory, Sentinel, Standalone, Topology

DEADLINE = 20.0  # seconds for a plain command and for the first connect
SHARED, DEDICATED = 4, 128  # connections: requests are pipelined, blocking calls and listeners hold one each


@dataclass(frozen=True, slots=True)
class LinkKinds:
    """What links are made of; those of the testing kit can be broken on purpose."""

    to_server: Callable[..., Link] = CoredisLink
    in_memory: Callable[[MemoryServer], Link] = MemoryLink


USUAL = LinkKinds()


class Links(Protocol):
    """Finds the link to the server that holds the keys of a hash tag; the same tag gives the same link."""

    def __call__(self, tag: bytes) -> Link: ...


@asynccontextmanager
async def hosted(topology: Topology) -> AsyncIterator[Topology]:
    """Give *topology* a server for the time of the context, and say where any number of links reach it.

    It may be left by another task than the one that entered it.
    """
    match topology:
        case Embedded():
            from secure_queue.redis.embedded import serve  # needs POSIX locks, which only embedded:// asks for

            async with serve(topology) as unix_path:
                yield Standalone(unix_path=str(unix_path))
        case Memory(""):
            with MemoryServer.held(name := f"private-{uuid4().hex}"):
                yield Memory(name)
        case Memory(name):
            with MemoryServer.held(name):
                yield topology
        case _:
            yield topology


@asynccontextmanager
async def open_links(
    topology: Topology, *, deadline: float = DEADLINE, kinds: LinkKinds = USUAL
) -> AsyncIterator[Links]:
    """Open the way to every hash tag; no connection is made before the first call. *deadline* is that of plain commands.

    One server holds all tags, but in a cluster each has an owner: there each has a link of its own. The task that enters
    must also leave: the connections live in task groups. Any task may use it meanwhile.
    """
    async with AsyncExitStack() as stack:
        warn_of_clear_text(topology)
        place = await stack.enter_async_context(hosted(topology))
        if isinstance(place, Memory):
            memory = stack.enter_context(open_memory(place.name, kinds.in_memory))
            yield lambda _: memory
            return
        if isinstance(place, Cluster):
            known = await stack.enter_async_context(ClusterMap(place))
            group = await stack.enter_async_context(beside())
            yield cache(lambda tag: _cluster_link(group, known, place, tag, deadline, kinds))
            return
        group = await stack.enter_async_context(beside())
        link = _only_link(group, place, deadline, kinds)
        yield lambda _: link


@asynccontextmanager
async def open_link(topology: Topology, *, tag: bytes = b"", deadline: float = DEADLINE) -> AsyncIterator[Link]:
    """Open one link, in a cluster to the owner of the slot of the hash tag *tag*."""
    async with open_links(topology, deadline=deadline) as links:
        yield links(tag)


def _only_link(group: TaskGroup, place: Topology, deadline: float, kinds: LinkKinds) -> Link:
    match place:
        case Sentinel():
            return _following_link(group, SentinelLocator(place), place.primary, str(place), deadline, kinds)
        case Standalone():
            return _link(group, place, str(place), deadline, kinds)
    raise TypeError(f"{place} is not hosted")


def _cluster_link(
    group: TaskGroup, known: ClusterMap, place: Cluster, tag: bytes, deadline: float, kinds: LinkKinds
) -> Link:
    return _following_link(group, ClusterLocator(known, tag), place.seeds[0], str(place), deadline, kinds)


def _link(
    group: TaskGroup,
    server: Standalone,
    name: str,
    deadline: float,
    kinds: LinkKinds,
    follower: Follower | None = None,
) -> Link:
    pools = pool_for(server, SHARED), pool_for(server, DEDICATED)
    history = History()
    if follower is not None:
        follower.when_moved = history.goes_on_elsewhere
    for pool in pools:
        pool.when_opening = history.look
        if follower is not None:
            follower.lead(pool)
        pool.live_in(group)
    return kinds.to_server(*pools, server=name, deadline=deadline, history=history, follower=follower)


def _following_link(
    group: TaskGroup, locator: Locator, like: Standalone, name: str, deadline: float, kinds: LinkKinds
) -> Link:
    follower = Follower(locator, name)
    group.start_soon(follower.run)
    return _link(group, like, name, deadline, kinds, follower)
