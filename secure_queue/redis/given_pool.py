"""Reads out of a pool of coredis which servers it is for.

The pool itself is not used: connections are those of this library, which follow a failover and lose no place of a pool.
"""

from __future__ import annotations

from typing import Any

from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.pool import ClusterConnectionPool, ConnectionPool

from secure_queue.errors import TopologyError
from secure_queue.redis.groups import cluster_of
from secure_queue.redis.topology import Cluster, Standalone
from secure_queue.secret import Secret


def servers_of(pool: object) -> Standalone | Cluster:
    """The server or the cluster of *pool*; raises ``TopologyError`` for what cannot be taken over."""
    if not isinstance(pool, (ConnectionPool, ClusterConnectionPool)):
        raise TopologyError("redis_pool= takes a ConnectionPool or ClusterConnectionPool of coredis; or give a URL")
    given = dict[str, Any](**pool.connection_kwargs)
    for name in ("ssl_context", "credential_provider"):
        if given.get(name) is not None:
            raise TopologyError(f"the {name} of redis_pool= cannot be taken over; give a URL, with rediss:// for TLS")
    if isinstance(pool, ClusterConnectionPool):
        nodes = [(node.host, node.port) for node in pool.startup_nodes]
        return cluster_of(nodes, {name: given.get(name) for name in ("username", "password")})
    return _standalone(pool.location, given)


def _standalone(location: object, given: dict[str, Any]) -> Standalone:
    username, password, db = given.get("username"), given.get("password"), given.get("db") or 0
    secret = Secret(password.encode()) if password else None
    match location:
        case TCPLocation():
            return Standalone(location.host, location.port, db, username, secret)
        case UnixDomainSocketLocation():
            return Standalone(db=db, username=username, password=secret, unix_path=str(location.path))
    raise TopologyError("redis_pool= does not say where its server is; give a URL")
