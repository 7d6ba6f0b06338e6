"""Reads from URLs and options which servers hold the queues.

A bad URL or option is a ``TopologyError`` that names the fault and the cure and never shows a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from secure_queue.errors import TopologyError
from secure_queue.redis.given_pool import servers_of
from secure_queue.redis.groups import Node, cluster_of, parse_cluster, parse_sentinel, sentinel_of
from secure_queue.redis.options import TLS_OPTIONS, database, login, read_options, tls_of
from secure_queue.redis.topology import DEFAULT_PORT, Embedded, Memory, Standalone, Topology
from secure_queue.settings import by_name

_CREDENTIALS = re.compile(r"(?:(?<=://)|^(?!.*://)).*@")  # greedy: a password may hold what it should not
_SECRET_OPTION = re.compile(r"((?:password|username)=)[^&#]*", re.IGNORECASE)
_GROUP = re.compile(r"(rediss?\+[A-Za-z]+)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_OPTIONS = ("db", "username", "password")
USUAL_MASTER = "mymaster"


def parse_url(url: str, redis_kwargs: Mapping[str, object] | None = None) -> Topology:
    """Read a server URL; *redis_kwargs* fills in what the URL leaves open. Raises ``TopologyError``."""
    if not isinstance(url, str):
        raise TopologyError(f"the URL of a server is text, for example 'redis://host:6379/0', not {type(url).__name__}")
    parts = _split(url)
    parse = _SCHEMES.get(parts.scheme)
    if parse is None:
        raise TopologyError(f"unknown scheme in {redact(url)!r}; use one of: {', '.join(f'{s}://' for s in _SCHEMES)}")
    return parse(parts, dict(redis_kwargs or {}))


def which_servers(
    url: str | None,
    redis_kwargs: Mapping[str, object] | None,
    *,
    sentinel_nodes: Sequence[Node] | None,
    sentinel_master: str | None,
    sentinel_kwargs: Mapping[str, object] | None,
    cluster_nodes: Sequence[Node] | None,
    redis_pool: object = None,
    default_url: str,
) -> Topology:
    """The servers that the flat arguments of ``Worker`` name in one of four ways; raises ``TopologyError``."""
    others, of_sentinels = by_name("redis_kwargs", redis_kwargs), by_name("sentinel_kwargs", sentinel_kwargs)
    ways = {
        "redis_url": url,
        "sentinel_nodes": sentinel_nodes,
        "cluster_nodes": cluster_nodes,
        "redis_pool": redis_pool,
    }
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise TopologyError(f"{' and '.join(given)} each name the servers; give one of them")
    if sentinel_nodes is not None:
        master = USUAL_MASTER if sentinel_master is None else sentinel_master
        return sentinel_of(sentinel_nodes, master, others, of_sentinels)
    if sentinel_master is not None:
        raise TopologyError(
            "sentinel_master= goes with sentinel_nodes=; in a URL write redis+sentinel://host1,host2/name"
        )
    if of_sentinels:
        raise TopologyError("sentinel_kwargs= goes with sentinel_nodes=; in a URL write ?sentinel_password=…")
    if cluster_nodes is not None:
        return cluster_of(cluster_nodes, others)
    if redis_pool is not None:
        return servers_of(redis_pool)
    return parse_url(url or default_url, others)


def redact(url: str) -> str:
    """*url* without its credentials, for messages and logs."""
    return _SECRET_OPTION.sub(r"\1***", _CREDENTIALS.sub("***@", url))


def _split(url: str) -> SplitResult:
    group = _GROUP.fullmatch(url.strip())
    try:
        if group is None:
            parts = urlsplit(url.strip())
            _ = parts.port, parts.hostname  # both are checked only when asked for
        else:  # several hosts, which ``groups.py`` reads: newer Pythons refuse brackets in the middle
            scheme, netloc, rest = group.groups()
            parts = urlsplit(f"{scheme}://group{rest}")._replace(netloc=netloc)
    except ValueError as error:  # the text of the error may quote the URL, so it is not kept as the cause
        kind = "port" if "ort" in str(error) else "host"
        raise TopologyError(
            f"the {kind} in {redact(url)!r} is malformed; write redis://host:6379/0 and %-encode a password"
        ) from None
    if not parts.scheme or "://" not in url:
        raise TopologyError(f"{redact(url)!r} has no scheme; write redis://host:6379/0")
    if parts.fragment:
        raise TopologyError(f"{redact(url)!r} contains a '#'; write it as %23 if it belongs to the password")
    return parts


def _parse_tcp(parts: SplitResult, kwargs: dict[str, object]) -> Standalone:
    secure = parts.scheme == "rediss"
    options = read_options(parts, kwargs, allowed=_OPTIONS + (TLS_OPTIONS if secure else ()))
    username, password = login(parts.netloc, options)
    return Standalone(
        host=unquote(parts.hostname or "localhost"),
        port=DEFAULT_PORT if parts.port is None else parts.port,
        db=database(options.get("db"), parts.path),
        username=username,
        password=password,
        tls=tls_of(options) if secure else None,
    )


def _parse_unix(parts: SplitResult, kwargs: dict[str, object]) -> Standalone:
    if parts.netloc.rpartition("@")[2]:
        raise TopologyError("a unix:// URL holds an absolute path; write unix:///run/redis.sock (three slashes)")
    if not parts.path.strip("/"):
        raise TopologyError("a unix:// URL needs the path of the socket; write unix:///run/redis.sock")
    options = read_options(parts, kwargs, allowed=_OPTIONS)
    username, password = login(parts.netloc, options)
    db = database(options.get("db"), "")
    return Standalone(db=db, username=username, password=password, unix_path=unquote(parts.path))


def _parse_embedded(parts: SplitResult, kwargs: dict[str, object]) -> Embedded:
    if parts.netloc:
        raise TopologyError("embedded:// takes an absolute folder; write embedded:///var/lib/app (three slashes)")
    options = read_options(parts, kwargs, allowed=("binary",))
    folder = unquote(parts.path)
    return Embedded(
        Path(folder) if folder.strip("/") else None, Path(options["binary"]) if "binary" in options else None
    )


def _parse_memory(parts: SplitResult, kwargs: dict[str, object]) -> Memory:
    read_options(parts, kwargs, allowed=())
    if parts.path.strip("/"):
        raise TopologyError("memory:// takes a name and no path; write memory:// or memory://name")
    return Memory(unquote(parts.netloc))


_SCHEMES: dict[str, Callable[[SplitResult, dict[str, object]], Topology]] = {
    "redis": _parse_tcp,
    "rediss": _parse_tcp,
    "unix": _parse_unix,
    "redis+sentinel": parse_sentinel,
    "rediss+sentinel": parse_sentinel,
    "redis+cluster": parse_cluster,
    "rediss+cluster": parse_cluster,
    "embedded": _parse_embedded,
    "memory": _parse_memory,
}
