"""The one door between values and stored bytes: what comes out was sealed for exactly this place, or is ``Rejected``.

    body = length of head (u16, big endian) + head + value

The head holds what the library itself needs to know; the value holds the application's data in the bytes of its
serializer. Both lie inside the authenticated envelope.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Generator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from secure_queue.errors import PayloadError, Rejected, UnserializableValue
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.compression import compress_body
from secure_queue.payload.envelope import QueueSeal
from secure_queue.payload.layout import DEFAULT_LIFETIME_S, NO_EXPIRY, Limits, parse_envelope
from secure_queue.payload.purposes import Purpose
from secure_queue.payload.rings import KeyRing
from secure_queue.payload.serializers import MSGPACK_ID, MsgpackSerializer, Serializer

__all__ = [
    "DEFAULT_LIFETIME_S",
    "NO_EXPIRY",
    "VALUED",
    "Codec",
    "Habits",
    "Limits",
    "Opened",
    "Purpose",
    "Sealed",
    "split_body",
]

_HEAD_LENGTH: Final = struct.Struct(">H")
_NO_HEAD: Final = _HEAD_LENGTH.pack(0)
_MAX_HEAD_BYTES: Final = 0xFFFF
_NO_VALUE: Final = object()
_ENCRYPTED: Final = int(Suite.AES_256_GCM)  # a member of an Enum costs more than the comparison
_new_tuple: Final = tuple.__new__
VALUED: Final = frozenset({Purpose.TASK, Purpose.RESULT, Purpose.STATE, Purpose.SCHEDULE})
"""The purposes whose messages carry values of the application; the others have nothing to hide."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a writer seals what says nothing else, and whether it reads only what is encrypted."""

    encrypt: bool = False
    compress: bool = False
    lifetime_s: int = DEFAULT_LIFETIME_S
    require_encryption: bool = False
    """Refuse tasks and results that are only signed; what is written is then encrypted too."""

    @property
    def encrypted(self) -> AbstractSet[Purpose]:
        """The purposes whose messages are encrypted when they are written."""
        return VALUED if self.encrypt or self.require_encryption else frozenset()

    @property
    def limits(self) -> Limits:
        """What a reader with these habits accepts."""
        return Limits(must_be_encrypted=VALUED if self.require_encryption else frozenset())


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
    suite: int
    serializer_id: int
    head: bytes
    value: Any  # an awaitable of the value when its serializer is async

    @property
    def is_encrypted(self) -> bool:
        """Whether the body could be read by key holders only."""
        return self.suite == _ENCRYPTED

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
    suite: int
    serializer_id: int
    head: bytes
    value: bytes

    @property
    def is_encrypted(self) -> bool:
        """Whether the body could be read by key holders only."""
        return self.suite == _ENCRYPTED

    def __repr__(self) -> str:
        return f"<Sealed purpose={self.purpose} key={self.key_id.hex()[:8]} serializer={self.serializer_id}>"


class Codec:
    """Seals and opens the payloads of one queue."""

    def __init__(
        self,
        ring: KeyRing,
        queue: str,
        serializer: Serializer,
        limits: Limits | None = None,
        habits: Habits | None = None,
    ) -> None:
        self.serializer = serializer
        self.habits = habits or Habits()
        self.limits = limits or self.habits.limits
        self._compresses = self.habits.compress
        self._queue = queue
        self.use(ring)
        # msgpack is data only and therefore always accepted: failures travel in it whatever the serializer is.
        self._loads = {MSGPACK_ID: MsgpackSerializer().loads, serializer.id: _loader(serializer)}

    def use(self, ring: KeyRing) -> None:
        """Seal and open with *ring* from the next call on."""
        self._seal = self._seal_of(ring)

    def _seal_of(self, ring: KeyRing) -> QueueSeal:
        return QueueSeal(ring, self._queue, self.limits, self.habits.encrypted)

    def key_id_for(self, purpose: Purpose, encrypt: bool | None = None) -> bytes:
        """The id of the key that seals such messages; raises ``KeyRingError`` if there is none."""
        return self._seal.signer(purpose, encrypt).key_id

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
        encrypt: bool | None = None,
        compress: bool | None = None,
    ) -> bytes:
        """Seal a head and a serialized value for one place, with the habits of this writer where nothing else is said.

        The delay is rounded down to seconds, so that a task is never found early by its own envelope. What is encrypted
        is not compressed: its size would tell about its content.
        """
        if head and len(head) > _MAX_HEAD_BYTES:
            raise PayloadError(f"a head has at most {_MAX_HEAD_BYTES} bytes")
        body = (_HEAD_LENGTH.pack(len(head)) + head + value) if head else (_NO_HEAD + value)
        flags = 0
        if self._compresses if compress is None else compress:
            body, flags = self._compressed(body, self._seal.signer(purpose, encrypt).suite)
        sealed = self._seal.seal(
            purpose, body, self.serializer.id if serializer_id is None else serializer_id,
            task_id, function, now_ms, jti, ref, delay_ms // 1000, lifetime_s, flags, encrypt,
        )  # fmt: skip
        if len(sealed) > self.limits.stored_bytes:
            raise UnserializableValue(
                f"too large: {len(sealed)} bytes, the limit is {self.limits.stored_bytes}; "
                "store the data elsewhere and pass a reference to it"
            )
        return sealed

    def _compressed(self, body: bytes, suite: Suite) -> tuple[bytes, int]:
        if suite is Suite.AES_256_GCM or len(body) > self.limits.decompressed_bytes:
            return body, 0
        return compress_body(body)

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
        (
            found_function, jti, found_ref, issued_ms, not_before_ms, expires_ms, key_id, suite, serializer_id, body,
        ) = verified  # fmt: skip
        value: Any
        if body[:2] == _NO_HEAD:
            head, value = b"", body[2:]
        else:
            head, value = split_body(body)
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
        return _new_tuple(
            Opened,
            (
                task_id, found_function, jti, found_ref, issued_ms, not_before_ms, expires_ms,
                key_id, suite, serializer_id, head, value,
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
        return Sealed(purpose, task_id, *verified[:-1], *split_body(verified[-1]))

    def verify_late(self, untrusted: bytes, purpose: Purpose, task_id: str, *, now_ms: int) -> Sealed:
        """``verify`` for a payload that may have expired meanwhile: it is judged as of the moment when it did."""
        moment_ms = min(parse_envelope(untrusted).expires_ms or now_ms, now_ms)
        return self.verify(untrusted, purpose, task_id, now_ms=moment_ms)

    def open_late(self, untrusted: bytes, purpose: Purpose, task_id: str, *, now_ms: int, ref: bytes) -> Opened:
        """``open`` for a payload that may have expired meanwhile: it is judged as of the moment when it did."""
        moment_ms = min(parse_envelope(untrusted).expires_ms or now_ms, now_ms)
        return self.open(untrusted, purpose, task_id, now_ms=moment_ms, ref=ref)

    def check_answers(self, ring: KeyRing | None = None) -> None:
        """Raise ``KeyRingError`` unless every task that opens can be answered by a result as safe as itself.

        It opens with the ring in use, or with another *ring* that may come to be used.
        """
        seal = self._seal if ring is None else self._seal_of(ring)
        seal.signer(Purpose.RESULT, False)
        if self.habits.encrypted or seal.can_open(Purpose.TASK, Suite.AES_256_GCM):
            seal.signer(Purpose.RESULT, True)


def split_body(body: bytes) -> tuple[bytes, Any]:
    """The head and the value of a body; raises ``Rejected``."""
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
