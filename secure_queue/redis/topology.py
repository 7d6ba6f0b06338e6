"""Which servers hold the queues, as frozen values; no socket is opened here. ``urls.py`` reads them from a URL."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from secure_queue.errors import TopologyError
from secure_queue.secret import Secret

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server's certificate is checked and which certificate is shown to it."""

    ca_certs: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """A client context: TLS 1.2 or later, certificate required; a private CA replaces the system's."""
        try:
            context = _default_context(self.ca_certs)
            if self.certfile is not None:
                context.load_cert_chain(self.certfile, self.keyfile)
        except (OSError, ssl.SSLError) as error:
            raise TopologyError("a file named by ssl_ca_certs, ssl_certfile or ssl_keyfile is unreadable") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.check_hostname
        return context


@dataclass(frozen=True, slots=True)
class Standalone:
    """One server, reached over TCP, TLS or a unix socket (``unix_path``; host and port then mean nothing)."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    db: int = 0
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    unix_path: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.unix_path or f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A private redis-server: in a temporary directory, or with its data in *folder*, shared by all who name it."""

    folder: Path | None = None
    binary: Path | None = None

    def __str__(self) -> str:
        return f"embedded://{self.folder or ''}"


@dataclass(frozen=True, slots=True)
class Memory:
    """No server: a database inside this process, shared under *name*; without a name it belongs to its owner alone."""

    name: str = ""

    def __str__(self) -> str:
        return f"memory://{self.name}"


@dataclass(frozen=True, slots=True)
class Sentinel:
    """The primary that a group of sentinels watches under the name *master*.

    *monitors* say how the sentinels are reached, *primary* how the server is; its host and port are what they tell.
    """

    monitors: tuple[Standalone, ...]
    master: str
    primary: Standalone = Standalone()

    def __str__(self) -> str:
        return f"sentinel {self.master} at {','.join(map(str, self.monitors))}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Redis Cluster, entered through any of *seeds*; all nodes are reached with the same login and TLS settings."""

    seeds: tuple[Standalone, ...]

    def __str__(self) -> str:
        return f"cluster at {','.join(map(str, self.seeds))}"


Topology: TypeAlias = Standalone | Embedded | Memory | Sentinel | Cluster


def is_private(topology: Topology) -> bool:
    """Whether its server is made for one worker object, so that another one of the same topology has another server."""
    return topology == Memory() or (isinstance(topology, Embedded) and topology.folder is None)


def at(server: Standalone, host: str, port: int) -> Standalone:
    """The server at another address that is reached in the same way."""
    return replace(server, host=host, port=port)


def _default_context(ca_certs: Path | None) -> ssl.SSLContext:
    """The context of the standard library: it loads the system's CAs only if none is named."""
    if ca_certs is not None and ca_certs.is_dir():
        return ssl.create_default_context(capath=ca_certs)
    return ssl.create_default_context(cafile=ca_certs)
