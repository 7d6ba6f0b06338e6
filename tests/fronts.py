"""Groups whose nodes are behind TLS even where the redis-server was built without it: a front ends TLS before each node.

A front answers on the port that its node announces, to peers in the clear and to clients over TLS, which it tells apart
by the first byte. Where the server of the suite speaks TLS itself, it does.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import AnyByteStream
from anyio.streams.tls import TLSStream

from secure_queue.local.access import LOOPBACK, Access
from secure_queue.local.certificates import Certificates, make_certificates
from secure_queue.local.groups import ClusterGroup, Group, SentinelGroup
from secure_queue.local.layout import CLUSTER, DATA, DOWN_AFTER_MS, NODE_TIMEOUT_MS, SENTINELS, Layout
from secure_queue.local.logins import SENTINEL_USERS, SERVER_USERS, keep_logins, users_in
from secure_queue.local.node import Node, _free_port, speaks_tls
from secure_queue.local.private import private_folder
from tests.servers import server_binary, started

ROOT = Path(__file__).parents[1]
HANDSHAKE = b"\x16"  # the first byte of TLS, and of no Redis request
_BUS = 10_000
CALM_MS = "3000"  # a busy machine is no dead primary, and behind a front everything takes longer
# One of the two has left, as processes do that are killed.
GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, ssl.SSLError)


class _Behind:
    """Mixin: its nodes listen in the clear on a hidden port, and announce the port of their front."""

    hidden: dict[int, int]

    def _node(self, name: str, options: dict[str, str], shared: str, *, is_sentinel: bool = False) -> Node:
        front, hidden = _free_port(), _free_port()
        announced = {"sentinel announce-port": str(front), "sentinel announce-ip": LOOPBACK}
        if not is_sentinel:
            announced = {"replica-announce-port": str(front), "replica-announce-ip": LOOPBACK}
        if isinstance(self, ClusterGroup):
            bus = {"cluster-announce-port": str(front), "cluster-announce-bus-port": str(hidden + _BUS)}
            announced |= bus | {"cluster-announce-ip": LOOPBACK}
        listening = {"port": str(hidden), "bind": LOOPBACK}
        group: Any = self
        node = Node(
            name,
            group.folder,
            group._binary,
            {**listening, **announced, **options},
            is_sentinel=is_sentinel,
            port=front,
            access=_Spoken(group.access.certificates, group.access.logins, group.access.folder),
            shared=shared,
        )
        group.nodes.append(node)
        self.__dict__.setdefault("hidden", {})[front] = hidden
        return node


@dataclass(frozen=True, slots=True)
class _Spoken(Access):
    """TLS for whoever connects, and none in the configuration of the server."""

    def listening(self, port: int) -> dict[str, str]:
        return {}


class FrontedSentinels(_Behind, SentinelGroup):
    """A Sentinel group behind fronts."""


class FrontedCluster(_Behind, ClusterGroup):
    """A Cluster behind fronts."""

    _bus_speaks_tls = False  # type: ignore[assignment]

    def _bus_port(self, node: Node) -> Sequence[str]:
        return (str(self.hidden[node.port] + _BUS),)


def _servers(kind: type[Group]) -> str:
    return (
        CLUSTER.replace(f"node-timeout {NODE_TIMEOUT_MS}", f"node-timeout {CALM_MS}") if kind is ClusterGroup else DATA
    )


@contextmanager
def secured(kind: type[Group], folder: Path) -> Iterator[Group]:
    """A group with an authority of its own, client certificates, and a user and password for everything."""
    private_folder(folder)
    names = [*users_in(SERVER_USERS), *users_in(SENTINEL_USERS)]
    access = Access(make_certificates(folder / "tls"), keep_logins(folder / "passwords.json", names), folder)
    assert access.certificates is not None
    layout = Layout(access=access, servers=_servers(kind), sentinels=SENTINELS.replace(str(DOWN_AFTER_MS), CALM_MS))
    binary = server_binary()
    with ExitStack() as stack:
        if speaks_tls(binary):
            group = kind(binary, folder, layout=layout)
        else:
            fronted = FrontedCluster if kind is ClusterGroup else FrontedSentinels
            group = fronted(binary, folder, layout=layout)
            stack.enter_context(fronts(group.hidden, access.certificates))
        yield stack.enter_context(started(group))


@contextmanager
def fronts(ports: dict[int, int], certificates: Certificates) -> Iterator[None]:
    """Serve every front, in a process of its own: peers that watch each other must not wait for a busy test."""
    words = [sys.executable, "-m", "tests.fronts", str(certificates.folder), json.dumps(ports)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.stdin.close()  # its sign to end; the end of this process is one too


async def _serve_all(certificates: Certificates, ports: dict[int, int]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    context.load_verify_locations(certificates.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    async with anyio.create_task_group() as group:
        for front, hidden in ports.items():
            listener = await anyio.create_tcp_listener(local_host=LOOPBACK, local_port=front)
            group.start_soon(listener.serve, partial(_handle, hidden=hidden, context=context))
        print("ready", flush=True)
        await anyio.wait_readable(sys.stdin)
        group.cancel_scope.cancel()


class _Prefixed(anyio.abc.ByteStream):
    """A stream of which something was read already."""

    def __init__(self, first: bytes, stream: anyio.abc.SocketStream) -> None:
        self._first = first
        self._stream = stream

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        first, self._first = self._first[:max_bytes], self._first[max_bytes:]
        return first or await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _handle(client: anyio.abc.SocketStream, hidden: int, context: ssl.SSLContext) -> None:
    try:
        async with client:
            first = await client.receive()
            stream: AnyByteStream = _Prefixed(first, client)
            if first.startswith(HANDSHAKE):
                stream = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
            async with await anyio.connect_tcp(LOOPBACK, hidden) as upstream, anyio.create_task_group() as group:
                group.start_soon(_forward, stream, upstream, group)
                await _forward(upstream, stream, group)
    except* GONE:
        pass


async def _forward(source: AnyByteStream, target: AnyByteStream, group: anyio.abc.TaskGroup) -> None:
    try:
        async for data in source:
            await target.send(data)
    except GONE:
        pass
    group.cancel_scope.cancel()


if __name__ == "__main__":
    _, folder, served = sys.argv
    anyio.run(
        _serve_all, Certificates(Path(folder)), {int(front): hidden for front, hidden in json.loads(served).items()}
    )
