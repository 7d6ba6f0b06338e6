"""Opens the link to whatever a topology describes, and closes it again.

``hosted`` gives a topology that lives only in this process or machine (``embedded://``, ``memory://``) a place that
several links, of other threads and event loops too, can share; ``open_link`` opens one link.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from secure_queue.background import beside
from secure_queue.redis.coredis_link import CoredisLink
from secure_queue.redis.dialing import open_pool, pool_for
from secure_queue.redis.following import Follower, Locator
from secure_queue.redis.history import History
from secure_queue.redis.link import Link
from secure_queue.redis.memory import MemoryServer, open_memory
from secure_queue.redis.sentinels import SentinelLocator
from secure_queue.redis.slots import ClusterLocator
from secure_queue.redis.topology import Cluster, Embedded, Memory, Sentinel, Standalone, Topology

DEADLINE = 20.0  # seconds for a plain command and for the first connect
SHARED, DEDICATED = 4, 128  # connections: requests are pipelined, blocking calls and listeners hold one each


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
async def open_link(topology: Topology, *, tag: bytes = b"", deadline: float = DEADLINE) -> AsyncIterator[Link]:
    """Open a link; no connection is made before the first call. *deadline* is that of plain commands.

    In a cluster it leads to the owner of the slot of the hash tag *tag*. The task that enters it must also leave it: its
    connections live in task groups. Any task may use it meanwhile.
    """
    async with AsyncExitStack() as stack:
        match await stack.enter_async_context(hosted(topology)):
            case Memory(name):
                yield stack.enter_context(open_memory(name))
            case Standalone() as server:
                yield await _link(stack, server, str(server), deadline)
            case Sentinel() as group:
                yield await _following_link(stack, SentinelLocator(group), group.primary, str(group), deadline)
            case Cluster() as cluster:
                yield await _following_link(
                    stack, ClusterLocator(cluster, tag), cluster.seeds[0], str(cluster), deadline
                )


async def _link(
    stack: AsyncExitStack, server: Standalone, name: str, deadline: float, follower: Follower | None = None
) -> Link:
    pools = pool_for(server, SHARED), pool_for(server, DEDICATED)
    history = History()
    if follower is not None:
        follower.when_moved = history.goes_on_elsewhere
    for pool in pools:
        pool.when_opening = history.look
        if follower is not None:
            follower.lead(pool)
        await stack.enter_async_context(open_pool(pool))
    return CoredisLink(*pools, server=name, deadline=deadline, history=history, follower=follower)


async def _following_link(
    stack: AsyncExitStack, locator: Locator, like: Standalone, name: str, deadline: float
) -> Link:
    follower = Follower(locator, name)
    link = await _link(stack, like, name, deadline, follower)
    await stack.enter_async_context(beside(follower.run))
    return link
