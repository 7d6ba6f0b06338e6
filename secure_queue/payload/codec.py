"""The one door between values and stored bytes: what comes out was sealed for exactly this place, or is ``Rejected``.

    body = length of head (u16, big endian) + head + value

The head holds what the library itself needs to know; the value holds the application's data in the bytes of its
serializer. Both lie inside the authenticated envelope.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Final, NamedTuple

from secure_queue.errors import PayloadError, Rejected, UnserializableValue
from secure_queue.payload.envelope import (
    DEFAULT_LIFETIME_S,
    NO_EXPIRY,
    Limits,
    Purpose,
    QueueSeal,
    parse_envelope,
)
from secure_queue.payload.keys import KeyRing
from secure_queue.payload.serializers import MSGPACK_ID, MsgpackSerializer, Serializer

__all__ = ["DEFAULT_LIFETIME_S", "NO_EXPIRY", "Codec", "Limits", "Opened", "Purpose", "Sealed"]

_HEAD_LENGTH: Final = struct.Struct(">H")
_NO_HEAD: Final = _HEAD_LENGTH.pack(0)
_MAX_HEAD_BYTES: Final = 0xFFFF
_NO_VALUE: Final = object()


class Opened(NamedTuple):
    """A genuine payload with its value. A tuple, because one is made for every task and result."""

    task_id: str
    function: str
    jti: bytes
    ref: bytes
    issued_ms: int
    not_before_ms: int
    expires_ms: int | None
    key_id: bytes
    serializer_id: int
    head: bytes
    value: Any  # an awaitable of the value when its serializer is async

    def __repr__(self) -> str:
        return f"<Opened key={self.key_id.hex()[:8]} serializer={self.serializer_id}>"


class Sealed(NamedTuple):
    """A genuine payload whose value has not been deserialized, and need not ever be."""

    purpose: int
    task_id: str
    function: str
    jti: bytes
    ref: bytes
    issued_ms: int
    not_before_ms: int
    expires_ms: int | None
    key_id: bytes
    serializer_id: int
    head: bytes
    value: bytes

    def __repr__(self) -> str:
        return f"<Sealed purpose={self.purpose} key={self.key_id.hex()[:8]} serializer={self.serializer_id}>"


class Codec:
    """Seals and opens the payloads of one queue."""

    def __init__(self, ring: KeyRing, queue: str, serializer: Serializer, limits: Limits | None = None) -> None:
        self.serializer = serializer
        self._limits = limits or Limits()
        self._queue = queue
        self.use(ring)
        # msgpack is data only and therefore always accepted: failures travel in it whatever the serializer is.
        self._loads = {MSGPACK_ID: MsgpackSerializer().loads, serializer.id: _loader(serializer)}

    def use(self, ring: KeyRing) -> None:
        """Seal and open with *ring* from the next call on."""
        self._seal = QueueSeal(ring, self._queue, self._limits)

    def seal(
        self,
        purpose: Purpose,
        task_id: str,
        function: str,
        head: bytes,
        value: bytes,
        *,
        now_ms: int,
        jti: bytes,
        ref: bytes = b"",
        delay_ms: int = 0,
        lifetime_s: int = DEFAULT_LIFETIME_S,
        serializer_id: int | None = None,
    ) -> bytes:
        """Sign a head and a serialized value for one place.

        The delay is rounded down to seconds, so that a task is never found early by its own envelope.
        """
        if head and len(head) > _MAX_HEAD_BYTES:
            raise PayloadError(f"a head has at most {_MAX_HEAD_BYTES} bytes")
        sealed = self._seal.seal(
            purpose,
            (_HEAD_LENGTH.pack(len(head)) + head + value) if head else (_NO_HEAD + value),
            serializer_id=self.serializer.id if serializer_id is None else serializer_id,
            task_id=task_id,
            function=function,
            issued_ms=now_ms,
            jti=jti,
            ref=ref,
            delay_s=delay_ms // 1000,
            lifetime_s=lifetime_s,
        )
        if len(sealed) > self._limits.stored_bytes:
            raise UnserializableValue(
                f"too large: {len(sealed)} bytes, the limit is {self._limits.stored_bytes}; "
                "store the data elsewhere and pass a reference to it"
            )
        return sealed

    def open(
        self,
        untrusted: bytes,
        purpose: Purpose,
        task_id: str,
        *,
        now_ms: int,
        function: str | None = None,
        ref: bytes | None = None,
    ) -> Opened:
        """Verify, then deserialize; raise ``Rejected`` if any step says no."""
        verified = self._seal.open(untrusted, purpose, task_id, function, ref, now_ms)
        found_function, jti, found_ref, issued_ms, not_before_ms, expires_ms, key_id, serializer_id, body = verified
        value: Any
        if body[:2] == _NO_HEAD:
            head, value = b"", body[2:]
        else:
            head, value = _split(body)
        loads = self._loads.get(serializer_id)
        if loads is None:
            raise Rejected("serializer-not-allowed")
        try:
            value = loads(value)
        except Rejected:
            raise
        except (Exception, SystemExit):  # code of the application may run here, and no stored byte may end a worker
            value = _NO_VALUE
        if value is _NO_VALUE:  # raised outside the handler: no context that holds the value
            raise Rejected("undeserializable")
        return tuple.__new__(
            Opened,
            (
                task_id, found_function, jti, found_ref, issued_ms, not_before_ms, expires_ms,
                key_id, serializer_id, head, value,
            ),
        )  # fmt: skip

    def verify(
        self,
        untrusted: bytes,
        purpose: Purpose,
        task_id: str,
        *,
        now_ms: int,
        function: str | None = None,
        ref: bytes | None = None,
    ) -> Sealed:
        """Verify everything and deserialize nothing: the same steps as ``open`` without the last two."""
        verified = self._seal.open(untrusted, purpose, task_id, function, ref, now_ms)
        return Sealed(purpose, task_id, *verified[:-1], *_split(verified[-1]))

    def verify_late(self, untrusted: bytes, purpose: Purpose, task_id: str, *, now_ms: int) -> Sealed:
        """``verify`` for a payload that may have expired meanwhile: it is judged as of the moment when it did."""
        moment_ms = min(parse_envelope(untrusted).expires_ms or now_ms, now_ms)
        return self.verify(untrusted, purpose, task_id, now_ms=moment_ms)


def _split(body: bytes) -> tuple[bytes, Any]:
    head_end = 2 + int.from_bytes(body[:2], "big")
    if not 2 <= head_end <= len(body):
        raise Rejected("malformed")
    return body[2:head_end], body[head_end:]


def _loader(serializer: Serializer) -> Callable[[bytes], Any]:
    return partial(_PendingValue, serializer.loads) if serializer.is_async else serializer.loads


class _PendingValue:
    """An awaitable that starts the loader when it is awaited, and may as well never be."""

    __slots__ = ("_loads", "_value")

    def __init__(self, loads: Callable[[bytes], Awaitable[Any]], value: bytes) -> None:
        self._loads = loads
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._run().__await__()

    async def _run(self) -> Any:
        try:
            return await self._loads(self._value)
        except Rejected:
            raise
        except (Exception, SystemExit):
            problem = "undeserializable"
        raise Rejected(problem)
