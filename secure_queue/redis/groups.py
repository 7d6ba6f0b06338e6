"""Reads which servers form a Sentinel group or a Cluster, from a URL or from the flat arguments of ``Worker``.

    redis+sentinel://user:password@host1:26379,host2,host3/mymaster/0?sentinel_password=…
    redis+cluster://user:password@host1:6379,host2,host3

User and password are those of the data servers; what begins with ``sentinel_`` is for the sentinels. With ``rediss+…``
all connections speak TLS; the sentinels with the same files as the servers, unless they are given others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import SplitResult, unquote

from secure_queue.errors import TopologyError
from secure_queue.redis.options import TLS_OPTIONS, database, login, read_options, refuse_unknown, switch, texts, tls_of
from secure_queue.redis.topology import DEFAULT_PORT, SENTINEL_PORT, Cluster, Sentinel, Standalone, Tls, at

Node: TypeAlias = "str | tuple[str, int]"

_PREFIX = "sentinel_"
_LOGIN = ("username", "password")
_FOR_SENTINELS = tuple(_PREFIX + name for name in (*_LOGIN, "ssl", *TLS_OPTIONS))
_NODE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/,@\s]+))(?::(?P<port>[0-9]{1,5}))?")


def parse_sentinel(parts: SplitResult, kwargs: Mapping[str, object]) -> Sentinel:
    """A ``redis+sentinel://`` URL."""
    secure = parts.scheme.startswith("rediss")
    options = read_options(parts, kwargs, allowed=("db", *_LOGIN, *_FOR_SENTINELS, *(TLS_OPTIONS if secure else ())))
    nodes = _nodes(parts.netloc, SENTINEL_PORT)
    master, _, db = parts.path.strip("/").partition("/")
    return _sentinel(nodes, unquote(master), parts.netloc, options, db, tls_of(options) if secure else None)


def parse_cluster(parts: SplitResult, kwargs: Mapping[str, object]) -> Cluster:
    """A ``redis+cluster://`` URL."""
    secure = parts.scheme.startswith("rediss")
    options = read_options(parts, kwargs, allowed=(*_LOGIN, *(TLS_OPTIONS if secure else ())))
    if parts.path.strip("/") not in ("", "0"):
        raise TopologyError("a cluster has one database, number 0; write redis+cluster://host1,host2 without a path")
    nodes = _nodes(parts.netloc, DEFAULT_PORT)
    return _cluster(nodes, parts.netloc, options, tls_of(options) if secure else None)


def sentinel_of(
    nodes: Sequence[Node], master: str, redis_kwargs: Mapping[str, object], sentinel_kwargs: Mapping[str, object]
) -> Sentinel:
    """The flat arguments: *redis_kwargs* for the servers, *sentinel_kwargs* for the sentinels."""
    options = texts(redis_kwargs) | {_PREFIX + name: value for name, value in texts(sentinel_kwargs).items()}
    refuse_unknown(options, ("db", "ssl", *_LOGIN, *TLS_OPTIONS, *_FOR_SENTINELS), "sentinel_nodes=")
    return _sentinel(_listed(nodes, SENTINEL_PORT, "sentinel_nodes"), master, "", options, "", _tls(options))


def cluster_of(nodes: Sequence[Node], redis_kwargs: Mapping[str, object]) -> Cluster:
    """The flat arguments: *redis_kwargs* for all nodes."""
    options = texts(redis_kwargs)
    refuse_unknown(options, ("ssl", *_LOGIN, *TLS_OPTIONS), "cluster_nodes=")
    return _cluster(_listed(nodes, DEFAULT_PORT, "cluster_nodes"), "", options, _tls(options))


def _sentinel(
    nodes: Sequence[tuple[str, int]], master: str, netloc: str, options: Mapping[str, str], db: str, tls: Tls | None
) -> Sentinel:
    if not master:
        raise TopologyError(
            "the name that the sentinels watch is missing; write redis+sentinel://host1,host2/mymaster, or sentinel_master="
            " beside sentinel_nodes="
        )
    username, password = login(netloc, options)
    primary = Standalone(db=database(options.get("db"), db), username=username, password=password, tls=tls)
    own = {name.removeprefix(_PREFIX): text for name, text in options.items() if name.startswith(_PREFIX)}
    monitor_user, monitor_password = login("", own)
    monitor = Standalone(username=monitor_user, password=monitor_password, tls=_tls_of_sentinels(own, tls))
    return Sentinel(tuple(at(monitor, host, port) for host, port in nodes), master, primary)


def _cluster(nodes: Sequence[tuple[str, int]], netloc: str, options: Mapping[str, str], tls: Tls | None) -> Cluster:
    username, password = login(netloc, options)
    node = Standalone(username=username, password=password, tls=tls)
    return Cluster(tuple(at(node, host, port) for host, port in nodes))


def _tls(options: Mapping[str, str]) -> Tls | None:
    """TLS is spoken if ``ssl`` says so, or any of its files is named."""
    named = any(name in options for name in TLS_OPTIONS)
    return tls_of(options) if switch("ssl", options.get("ssl", str(named))) else None


def _tls_of_sentinels(own: Mapping[str, str], of_servers: Tls | None) -> Tls | None:
    if any(name in own for name in TLS_OPTIONS):
        return _tls(own)
    if not switch("sentinel_ssl", own.get("ssl", str(of_servers is not None))):
        return None
    return of_servers or Tls()


def _nodes(netloc: str, default_port: int) -> list[tuple[str, int]]:
    credentials, _, hosts = netloc.rpartition("@")
    if "@" in credentials and "," in credentials:
        raise TopologyError(
            "user and password stand once, before the first host; in a password write %40 for @, %2C for a comma"
        )
    return [_node(unquote(text), default_port) for text in hosts.split(",")]


def _listed(nodes: Sequence[Node], default_port: int, name: str) -> list[tuple[str, int]]:
    if isinstance(nodes, str) or not nodes:
        raise TopologyError(
            f"{name} is a list of nodes, for example [('10.0.0.1', {default_port}), 'host:{default_port}']"
        )
    return [_node(node if isinstance(node, str) else _spelled(node), default_port) for node in nodes]


def _spelled(node: tuple[str, int]) -> str:
    try:
        host, port = node
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    except (TypeError, ValueError):  # not a pair
        return ""


def _node(text: str, default_port: int) -> tuple[str, int]:
    found = _NODE.fullmatch(text.strip())
    port = int(found["port"] or default_port) if found else 0
    if found is None or not 0 < port < 65536:
        raise TopologyError(f"a node is malformed; write host:{default_port}, with several separated by commas")
    return found["v6"] or found["name"], port
