"""The wire format of every stored value: bytes plus context, authenticated, checked in one fixed order.

``docs/payload-format.md`` is the normative description. Everything about an envelope is untrusted until its tag has
been compared; nothing here turns bytes into objects.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from secure_queue.errors import PayloadError, Rejected
from secure_queue.payload.ciphers import TAG_BYTES, MacState, Suite, tag, tags_equal
from secure_queue.payload.keys import KeyRing, KeyState

MAGIC: Final = b"\xc1SQ"  # 0xC1: not UTF-8, no pickle opcode, and the one byte that msgpack never uses
VERSION: Final = 1
HEADER_BYTES: Final = 46
JTI_BYTES: Final = 16
NO_EXPIRY: Final = 0xFFFFFFFF
DEFAULT_LIFETIME_S: Final = 7 * 24 * 3600

# magic, version and suite; purpose, serializer, flags, key id, issued_at (high 16, low 32), not_before, lifetime, jti
_PREAMBLE: Final = MAGIC + bytes((VERSION, Suite.HMAC_SHA256))
_HEADER: Final = struct.Struct(">5sBBB8sHIII16s")
_FLAGS_AT: Final = 7
_MAX_NAME_BYTES: Final = 255
_LENGTH_BYTE: Final = tuple(bytes((length,)) for length in range(_MAX_NAME_BYTES + 1))
_RAW_LENGTH: Final = struct.Struct(">I")
_FLAG_ZLIB: Final = 0x01
_FLAG_REF: Final = 0x02
_UNKNOWN_FLAGS: Final = 0xFF & ~(_FLAG_ZLIB | _FLAG_REF)
_HMAC_SHA256: Final = int(Suite.HMAC_SHA256)
_NAMES_START: Final = {0: HEADER_BYTES, _FLAG_REF: HEADER_BYTES + JTI_BYTES}


class Purpose(IntEnum):
    """What a sealed value is; each purpose has its own subkey."""

    TASK = 1
    RESULT = 2
    STATE = 3
    SCHEDULE = 4
    CONTROL = 5
    AUDIT = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts."""

    stored_bytes: int = 1 << 20
    decompressed_bytes: int = 4 << 20
    clock_skew_ms: int = 60_000
    may_last_forever: AbstractSet[Purpose] = frozenset({Purpose.RESULT, Purpose.SCHEDULE, Purpose.AUDIT})


class Parsed(NamedTuple):
    """The fields of an envelope. Its structure is sound; whether it is genuine is another question."""

    purpose: int
    serializer_id: int
    flags: int
    key_id: bytes
    issued_ms: int
    not_before_ms: int
    expires_ms: int | None
    jti: bytes
    ref: bytes
    queue: bytes
    task_id: bytes
    function: bytes
    body_start: int
    body_end: int

    def __repr__(self) -> str:
        return f"<Parsed purpose={self.purpose} key={self.key_id.hex()[:8]}>"


# What a genuine envelope says beyond what its reader knew: function, jti, ref, issued_ms, not_before_ms, expires_ms,
# key_id, serializer_id, body. A bare tuple, because one is made for every task and taken apart by the next line.
Verified: TypeAlias = tuple[str, bytes, bytes, int, int, int | None, bytes, int, bytes]


class QueueSeal:
    """Seals and opens the envelopes of one queue with one ring of keys."""

    __slots__ = ("_key_id", "_limits", "_max_bytes", "_queue", "_queue_field", "_ring", "_skew_ms", "_subkeys")

    def __init__(self, ring: KeyRing, queue: str, limits: Limits) -> None:
        self._queue = queue.encode()
        if len(self._queue) > _MAX_NAME_BYTES:
            raise PayloadError(f"a queue name has at most {_MAX_NAME_BYTES} bytes")
        self._queue_field = _LENGTH_BYTE[len(self._queue)] + self._queue
        self._ring = ring
        self._key_id = ring.active.key_id
        self._limits = limits
        self._max_bytes = limits.stored_bytes
        self._skew_ms = limits.clock_skew_ms
        # Purpose to key id to subkey: every place that this reader expects, and none that a message could add.
        self._subkeys: dict[int, dict[bytes, MacState]] = {
            purpose: {
                key.key_id: key.subkey(self._queue, _HMAC_SHA256, purpose)
                for key in ring.keys
                if key.state is not KeyState.REVOKED
            }
            for purpose in Purpose
        }

    def seal(
        self,
        purpose: Purpose,
        body: bytes,
        *,
        serializer_id: int,
        task_id: str,
        function: str,
        issued_ms: int,
        jti: bytes,
        ref: bytes,
        delay_s: int,
        lifetime_s: int,
        flags: int = 0,
    ) -> bytes:
        """Sign *body* for exactly one place with the active key; *flags* are those of ``compress_body``."""
        if len(jti) != JTI_BYTES or (ref and len(ref) != JTI_BYTES):
            raise PayloadError(f"jti and ref are {JTI_BYTES} bytes")
        key_id = self._key_id
        try:
            task = task_id.encode()
            name = function.encode()
            message = b"%b%b%b%c%b%c%b%b" % (
                _HEADER.pack(
                    _PREAMBLE, purpose, serializer_id, (flags | _FLAG_REF) if ref else flags, key_id,
                    issued_ms >> 32, issued_ms & 0xFFFFFFFF, delay_s, lifetime_s, jti,
                ),
                ref, self._queue_field, len(task), task, len(name), name, body,
            )  # fmt: skip
        except (struct.error, OverflowError, UnicodeEncodeError):
            raise PayloadError("a name is no text of at most 255 bytes, or a time does not fit the envelope") from None
        return message + tag(self._subkeys[purpose][key_id], message)

    def open(
        self, untrusted: bytes, purpose: Purpose, task_id: str, function: str | None, ref: bytes | None, now_ms: int
    ) -> Verified:
        """Return what a genuine envelope holds that belongs exactly here and now, or raise ``Rejected``.

        *function* and *ref* are compared unless they are None. An envelope that is not yet due is returned.

        Structure, key and place are recognised by comparing bytes with the expected ones, which parses next to nothing
        of what is untrusted. What is not recognised is refused, and only then parsed to say why.
        """
        try:
            task = task_id.encode()
            place = self._queue_field + _LENGTH_BYTE[len(task)] + task
        except (IndexError, UnicodeEncodeError):  # nothing was ever sealed under such an id
            raise self._refusal(untrusted, purpose) from None
        if type(untrusted) is not bytes or not HEADER_BYTES <= len(untrusted) <= self._max_bytes:
            raise self._refusal(untrusted, purpose)
        (
            preamble, found_purpose, serializer_id, flags, key_id, issued_high, issued_low, delay_s, lifetime_s, jti,
        ) = _HEADER.unpack_from(untrusted)  # fmt: skip
        names_start = _NAMES_START[flags & _FLAG_REF]
        place_end = names_start + len(place)
        body_end = len(untrusted) - TAG_BYTES
        subkey = self._subkeys[purpose].get(key_id)
        if (
            preamble != _PREAMBLE
            or flags & _UNKNOWN_FLAGS
            or found_purpose != purpose
            or subkey is None
            or untrusted[names_start:place_end] != place
            or place_end >= body_end
            or (body_start := place_end + 1 + untrusted[place_end]) > body_end
        ):
            raise self._refusal(untrusted, purpose)
        if not tags_equal(tag(subkey, untrusted[:body_end]), untrusted[body_end:]):
            raise Rejected("bad-signature")
        found_function = untrusted[place_end + 1 : body_start].decode("utf-8", "replace")
        found_ref = untrusted[HEADER_BYTES:names_start]
        if (function is not None and function != found_function) or (ref is not None and ref != found_ref):
            raise Rejected("wrong-ref" if function in (None, found_function) else "wrong-function")
        issued_ms = issued_high << 32 | issued_low
        not_before_ms = issued_ms + delay_s * 1000
        expires_ms = not_before_ms + lifetime_s * 1000 if lifetime_s != NO_EXPIRY else None
        if expires_ms is None or not issued_ms - self._skew_ms <= now_ms <= expires_ms + self._skew_ms:
            self._check_time(purpose, issued_ms, expires_ms, now_ms)
        body = untrusted[body_start:body_end]
        if flags & _FLAG_ZLIB:
            body = _decompress(body, self._limits.decompressed_bytes)
        return found_function, jti, found_ref, issued_ms, not_before_ms, expires_ms, key_id, serializer_id, body

    def _check_time(self, purpose: Purpose, issued_ms: int, expires_ms: int | None, now_ms: int) -> None:
        if issued_ms > now_ms + self._skew_ms:
            raise Rejected("from-the-future")
        if expires_ms is None:
            if purpose not in self._limits.may_last_forever:
                raise Rejected("no-expiry-not-allowed")
        elif now_ms > expires_ms + self._skew_ms:
            raise Rejected("expired")

    def _refusal(self, untrusted: bytes, purpose: Purpose) -> Rejected:
        """Say why an envelope was not recognised: the first check that fails, in the documented order."""
        parsed = parse_envelope(untrusted, max_bytes=self._max_bytes)
        key = self._ring.find(parsed.key_id)
        if key is None:
            return Rejected("unknown-key")
        if key.state is KeyState.REVOKED:
            return Rejected("revoked-key")
        subkey = key.unkept_subkey(parsed.queue, _HMAC_SHA256, parsed.purpose)
        if not tags_equal(tag(subkey, untrusted[: parsed.body_end]), untrusted[parsed.body_end :]):
            return Rejected("bad-signature")
        # Genuine from here on: a moved or replayed payload, and worth an alert.
        if parsed.purpose != purpose:
            return Rejected("wrong-purpose")
        return Rejected("wrong-queue" if parsed.queue != self._queue else "wrong-task")


def compress_body(body: bytes) -> tuple[bytes, int]:
    """Return the body in its smaller form and the flags that say which; compress only what holds no secrets.

    Where an attacker chooses a part of the text and sees the size, compression tells the rest.
    """
    compressed = _RAW_LENGTH.pack(len(body)) + zlib.compress(body, 1)
    return (compressed, _FLAG_ZLIB) if len(compressed) < len(body) else (body, 0)


def parse_envelope(untrusted: object, *, max_bytes: int = 1 << 20) -> Parsed:
    """Read the structure of an envelope without believing any of it."""
    if (
        type(untrusted) is not bytes
        or not HEADER_BYTES <= len(untrusted) <= max_bytes
        or not untrusted.startswith(_PREAMBLE)
        or untrusted[_FLAGS_AT] & _UNKNOWN_FLAGS
    ):
        raise Rejected(_why_not_an_envelope(untrusted, max_bytes))
    (
        _, purpose, serializer_id, flags, key_id, issued_high, issued_low, delay_s, lifetime_s, jti,
    ) = _HEADER.unpack_from(untrusted)  # fmt: skip
    start = _NAMES_START[flags & _FLAG_REF]
    body_end = len(untrusted) - TAG_BYTES
    try:
        queue_end = start + 1 + untrusted[start]
        task_end = queue_end + 1 + untrusted[queue_end]
        body_start = task_end + 1 + untrusted[task_end]
    except IndexError:
        raise Rejected("malformed") from None
    if body_start > body_end:
        raise Rejected("malformed")
    issued_ms = issued_high << 32 | issued_low
    not_before_ms = issued_ms + delay_s * 1000
    expires_ms = None if lifetime_s == NO_EXPIRY else not_before_ms + lifetime_s * 1000
    return Parsed(
        purpose, serializer_id, flags, key_id, issued_ms, not_before_ms, expires_ms, jti,
        untrusted[HEADER_BYTES:start], untrusted[start + 1 : queue_end], untrusted[queue_end + 1 : task_end],
        untrusted[task_end + 1 : body_start], body_start, body_end,
    )  # fmt: skip


def _why_not_an_envelope(untrusted: object, max_bytes: int) -> str:
    """Name the first check that fails, in the documented order."""
    if type(untrusted) is not bytes:
        return "not-bytes"
    if len(untrusted) > max_bytes:
        return "too-large"
    if len(untrusted) < HEADER_BYTES:
        return "too-short"
    if not untrusted.startswith(MAGIC):
        return "not-an-envelope"
    if untrusted[3] != VERSION:
        return "unknown-version"
    if untrusted[4] != _HMAC_SHA256:
        return "suite-not-allowed"
    return "unknown-flag"


def _decompress(body: bytes, max_bytes: int) -> bytes:
    """Inflate to exactly the declared length, which is checked before a byte is inflated."""
    if len(body) < _RAW_LENGTH.size:
        raise Rejected("bad-compression")
    raw_length = _RAW_LENGTH.unpack_from(body)[0]
    if raw_length > max_bytes:
        raise Rejected("decompressed-too-large")
    stream = zlib.decompressobj()
    try:
        # One byte more than declared is enough to notice a body that declares less than it holds.
        raw = stream.decompress(body[_RAW_LENGTH.size :], raw_length + 1)
    except zlib.error:
        raise Rejected("bad-compression") from None
    if len(raw) != raw_length or not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise Rejected("bad-compression")
    return raw
