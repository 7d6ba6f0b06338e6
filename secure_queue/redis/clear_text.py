"""Whether anybody between here and the servers can read, and change, what goes to them and comes back."""

from __future__ import annotations

import ipaddress
import logging
from contextlib import suppress

from secure_queue.errors import TopologyError
from secure_queue.redis.topology import Cluster, Sentinel, Standalone, Topology
from secure_queue.settings import flags

_log = logging.getLogger("secure_queue.redis")


def refuse_clear_text(topology: Topology, require_tls: bool) -> None:
    """Raise ``TopologyError`` if a network would see *topology* spoken to without TLS, and that is required.

    One server on this very machine is not over a network. Where those of a group are, they say themselves.
    """
    flags(require_tls=require_tls)
    alone_and_here = isinstance(topology, Standalone) and stays_here(topology)
    if require_tls and in_clear_text(topology) and not alone_and_here:
        raise TopologyError(f"require_tls=True, and {topology} is spoken to without TLS; {_CURE}")


def warn_of_clear_text(topology: Topology) -> None:
    """Say once in the log that *topology* is spoken to without TLS beyond this machine."""
    if in_clear_text(topology) and not stays_here(topology) and str(topology) not in _told:
        _told.add(str(topology))
        _log.warning("%s is spoken to without TLS: whoever is in between reads the password; %s", topology, _CURE)


def in_clear_text(topology: Topology) -> bool:
    """Whether a server of *topology* is spoken to without TLS over TCP."""
    return any(server.tls is None and server.unix_path is None for server in _servers(topology))


def stays_here(topology: Topology) -> bool:
    """Whether every address of *topology* is one of this machine alone."""
    named = topology.monitors if isinstance(topology, Sentinel) else _servers(topology)
    return all(server.unix_path is not None or _is_loopback(server.host) for server in named)


def _servers(topology: Topology) -> tuple[Standalone, ...]:
    match topology:
        case Standalone():
            return (topology,)
        case Sentinel():
            return (topology.primary, *topology.monitors)
        case Cluster():
            return topology.seeds
        case _:
            return ()


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


_CURE = "use rediss:// (rediss+sentinel://, rediss+cluster://), or TLS for each of the servers that are given"
_told: set[str] = set()
