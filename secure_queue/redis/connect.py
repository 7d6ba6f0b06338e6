"""Opens the link to whatever a topology describes, and closes it again.

``hosted`` gives a topology that lives only in this process or machine (``embedded://``, ``memory://``) a place that
several links, of other threads and event loops too, can share; ``open_link`` opens one link.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.credentials import AbstractCredentialProvider, UserPass

from secure_queue.redis.coredis_link import REPLY_TIMEOUT, CoredisLink
from secure_queue.redis.link import Link
from secure_queue.redis.memory import MemoryServer, open_memory
from secure_queue.redis.pools import SafePool
from secure_queue.redis.topology import Embedded, Memory, Standalone, Topology
from secure_queue.redis.unix import QuietUnixConnection
from secure_queue.secret import Secret

DEADLINE = 20.0  # seconds for a plain command and for the first connect
CONNECT_TIMEOUT = 2.0
POOL_TIMEOUT = 10.0
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
async def open_link(topology: Topology, *, deadline: float = DEADLINE) -> AsyncIterator[Link]:
    """Open a link; no connection is made before the first call. *deadline* is that of plain commands.

    The task that enters it must also leave it: its connections live in task groups. Any task may use it meanwhile.
    """
    async with AsyncExitStack() as stack:
        match await stack.enter_async_context(hosted(topology)):
            case Memory(name):
                yield stack.enter_context(open_memory(name))
            case Standalone() as standalone:
                shared = await stack.enter_async_context(_open_pool(standalone, SHARED))
                dedicated = await stack.enter_async_context(_open_pool(standalone, DEDICATED))
                yield CoredisLink(shared, dedicated, server=str(standalone), deadline=deadline)


@asynccontextmanager
async def _open_pool(topology: Standalone, size: int) -> AsyncIterator[SafePool[Any]]:
    pool = _pool(topology, size)
    await pool.__aenter__()
    try:
        yield pool
    finally:  # no `async with`: the task group of the pool would wrap every error of the body into a group
        await pool.__aexit__(None, None, None)


def _pool(topology: Standalone, size: int) -> SafePool[Any]:
    """A pool for *topology*, not yet open.

    ``max_idle_time`` stays unset: it would close and reopen every idle connection for ever. What it is for (fact 4, a
    hung connection that nobody drops) the pool and the link do themselves, as soon as a reply is overdue.
    """
    _quieten_coredis()
    options: dict[str, Any] = {
        "max_connections": size,
        "timeout": POOL_TIMEOUT,
        "stream_timeout": REPLY_TIMEOUT,  # also bounds the handshake (fact 8)
        "connect_timeout": CONNECT_TIMEOUT,
        "decode_responses": False,
        "db": topology.db,
    }
    if topology.password is not None:
        options["credential_provider"] = _Login(topology.username, topology.password)
    if topology.unix_path is not None:
        location = UnixDomainSocketLocation(topology.unix_path)
        return SafePool(location=location, connection_class=QuietUnixConnection, **options)
    if topology.tls is not None:
        options["ssl_context"] = topology.tls.context()
    options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    return SafePool(location=TCPLocation(topology.host, topology.port), **options)


def _keepalive() -> dict[int, int]:
    """Find out about a peer that vanished without a word; what this system does not know is left out."""
    wanted = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


class _Login(AbstractCredentialProvider):
    """Gives user and password to the handshake and keeps the password out of the pool's options and every repr."""

    def __init__(self, username: str | None, password: Secret) -> None:
        self._username = username or "default"
        self._password = password

    async def get_credentials(self) -> UserPass:
        return UserPass(self._username, self._password.reveal().decode())


class _Quiet(logging.Filter):
    """Drops what coredis logs about lost and refused connections: here they are retried and reported as errors.

    Whoever sets a level on the logger ``coredis`` sees everything from that level on.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return logging.getLogger("coredis").level != logging.NOTSET


def _quieten_coredis() -> None:
    logger = logging.getLogger("coredis")
    if not any(isinstance(known, _Quiet) for known in logger.filters):
        logger.addFilter(_Quiet())
