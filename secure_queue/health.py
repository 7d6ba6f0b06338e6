"""A tiny HTTP endpoint that says whether workers live and are ready, for whoever watches over containers.

It answers ``GET /health`` and ``GET /ready`` and nothing else. A request has 4 KiB and five seconds, nothing of it is ever
sent back, and each connection is closed after its answer.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Final

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

from secure_queue.errors import ConfigurationError

LOOPBACK: Final = "127.0.0.1"
MOST_BYTES: Final = 4096
PATIENCE_S: Final = 5.0
MOST_CONNECTIONS: Final = 32
_ADDRESS: Final = re.compile(r"(?:(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})")
_REQUEST: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,255}) HTTP/1\.[01]\r\n")

_log = logging.getLogger("secure_queue.health")


@dataclass(frozen=True, slots=True)
class Health:
    """How one worker is; it is ready if it claims tasks and its server answers."""

    queue: str
    problems: tuple[str, ...]
    """Why it is not ready, or only partly."""
    ready: bool
    running: int = 0
    processed: int = 0


Look = Callable[[], Sequence[Health]]


def address_of(text: str) -> tuple[str, int]:
    """Host and port of ``"127.0.0.1:8080"``, ``"[::1]:8080"`` or ``"8080"``, which is on the loopback alone."""
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found["port"]) > 65535:
        raise ConfigurationError("an address for the health endpoint is host:port, for example 127.0.0.1:8080")
    return (found["host"] or LOOPBACK).strip("[]"), int(found["port"])


def answer(request: bytes, look: Look) -> bytes:
    """The whole answer to a request that is complete, or as much as came of it."""
    found = _REQUEST.match(request)
    if len(request) > MOST_BYTES:
        return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {})
    if found is None or b"\r\n\r\n" not in request:
        return _response(HTTPStatus.BAD_REQUEST, {})
    method, path = found[1], found[2].partition(b"?")[0]
    if path not in (b"/health", b"/ready"):
        return _response(HTTPStatus.NOT_FOUND, {}, method)
    if method not in (b"GET", b"HEAD"):
        return _response(HTTPStatus.METHOD_NOT_ALLOWED, {}, method)
    seen = look()
    is_ready = bool(seen) and all(one.ready for one in seen)
    is_well = is_ready or path == b"/health"
    word = "live" if path == b"/health" else "ready" if is_ready else "not ready"
    told = {"status": word, "workers": [asdict(one) for one in seen]}
    return _response(HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, told, method)


def _response(status: HTTPStatus, told: Mapping[str, object], method: bytes = b"GET") -> bytes:
    body = json.dumps(told or {"status": status.phrase}).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)


async def tell_health(address: str, look: Look, *, task_status: TaskStatus[int] = TASK_STATUS_IGNORED) -> None:
    """Answer at *address* until cancelled; *look* says how the workers are. ``group.start`` returns the port.

    Raises ``ConfigurationError`` if nobody can listen there.
    """
    host, port = address_of(address)
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ConfigurationError(
            f"the health endpoint cannot listen on {host}:{port}: {error.strerror}; choose another address"
        ) from error
    open_now = 0

    async def handle(stream: SocketStream) -> None:
        nonlocal open_now
        open_now += 1
        try:
            async with stream:
                if open_now <= MOST_CONNECTIONS:
                    await _talk(stream, look)
        finally:
            open_now -= 1

    async with listener:
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - of anyio, and no query of a database
        _log.info("health is told at http://%s:%d/health and /ready", host, port)
        task_status.started(port)
        await listener.serve(handle)


async def _talk(stream: SocketStream, look: Look) -> None:
    request = b""
    try:
        with anyio.move_on_after(PATIENCE_S):
            while len(request) <= MOST_BYTES and b"\r\n\r\n" not in request:
                request += await stream.receive(MOST_BYTES)
    except anyio.EndOfStream:
        pass
    except anyio.BrokenResourceError:
        return
    with anyio.move_on_after(PATIENCE_S):
        try:
            await stream.send(answer(request, look))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
