"""Builds the connection pool of one server: its address, login, TLS, timeouts and keep-alive."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.credentials import AbstractCredentialProvider, UserPass

from secure_queue.redis.pools import SafePool
from secure_queue.redis.tls import PatientTlsConnection
from secure_queue.redis.topology import Standalone
from secure_queue.redis.unix import QuietUnixConnection
from secure_queue.secret import Secret

REPLY_TIMEOUT = 4.0  # seconds a reply may take; then its connection is dropped (fact 4)
CONNECT_TIMEOUT = 2.0
POOL_TIMEOUT = 10.0


def pool_for(topology: Standalone, size: int) -> SafePool[Any]:
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
        options |= {"ssl_context": topology.tls.context(), "connection_class": PatientTlsConnection}
    options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
    return SafePool(location=TCPLocation(topology.host, topology.port), **options)


@asynccontextmanager
async def open_pool(pool: SafePool[Any]) -> AsyncIterator[SafePool[Any]]:
    """Open *pool*; the task that enters must also leave."""
    await pool.__aenter__()
    try:
        yield pool
    finally:  # no `async with`: the task group of the pool would wrap every error of the body into a group
        await pool.__aexit__(None, None, None)


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
