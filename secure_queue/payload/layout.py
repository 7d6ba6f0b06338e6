"""Where which byte of an envelope stands, and the parser that reads this structure without believing any of it."""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple

from secure_queue.errors import Rejected
from secure_queue.payload.ciphers import TAIL_BYTES, Suite
from secure_queue.payload.compression import FLAG_ZLIB
from secure_queue.payload.purposes import Purpose

MAGIC: Final = b"\xc1SQ"  # 0xC1: not UTF-8, no pickle opcode, and the one byte that msgpack never uses
VERSION: Final = 2
HEADER_BYTES: Final = 46
JTI_BYTES: Final = 16
NO_EXPIRY: Final = 0xFFFFFFFF
DEFAULT_LIFETIME_S: Final = 7 * 24 * 3600

# magic, version, suite and purpose; serializer, flags, key id, issued_at (high 16, low 32), not_before, lifetime, jti
PREFIX: Final = MAGIC + bytes((VERSION,))
HEADER: Final = struct.Struct(">6sBB8sHIII16s")
SUITE_AT, _PURPOSE_AT, _FLAGS_AT = 4, 5, 7
MAX_NAME_BYTES: Final = 255
LENGTH_BYTE: Final = tuple(bytes((length,)) for length in range(MAX_NAME_BYTES + 1))
FLAG_REF: Final = 0x02
NAMES_START: Final = {
    flags: HEADER_BYTES + JTI_BYTES if flags & FLAG_REF else HEADER_BYTES for flags in range((FLAG_ZLIB | FLAG_REF) + 1)
}
"""Where the names begin, by the flags; no other flags exist."""

_ALL_SUITES: Final = frozenset(Suite)
_ENCRYPTED: Final = frozenset({Suite.AES_256_GCM})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts."""

    stored_bytes: int = 1 << 20
    decompressed_bytes: int = 4 << 20
    clock_skew_ms: int = 60_000
    may_last_forever: AbstractSet[Purpose] = frozenset({Purpose.RESULT, Purpose.SCHEDULE, Purpose.AUDIT})
    must_be_encrypted: AbstractSet[Purpose] = frozenset()

    def suites_of(self, purpose: int) -> AbstractSet[int]:
        """The suites by which messages of this purpose may be sealed."""
        return _ENCRYPTED if purpose in self.must_be_encrypted else _ALL_SUITES


class Parsed(NamedTuple):
    """The fields of an envelope. Its structure is sound; whether it is genuine is another question."""

    suite: int
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


def parse_envelope(untrusted: object, *, max_bytes: int = 1 << 20, suites: AbstractSet[int] = _ALL_SUITES) -> Parsed:
    """Read the structure of an envelope without believing any of it."""
    if (
        type(untrusted) is not bytes
        or not HEADER_BYTES <= len(untrusted) <= max_bytes
        or not untrusted.startswith(PREFIX)
        or untrusted[SUITE_AT] not in suites
        or untrusted[_FLAGS_AT] not in NAMES_START
    ):
        raise Rejected(_why_not_an_envelope(untrusted, max_bytes, suites))
    suite, purpose = untrusted[SUITE_AT], untrusted[_PURPOSE_AT]
    (
        _, serializer_id, flags, key_id, issued_high, issued_low, delay_s, lifetime_s, jti,
    ) = HEADER.unpack_from(untrusted)  # fmt: skip
    start = NAMES_START[flags]
    body_end = len(untrusted) - TAIL_BYTES[Suite(suite)]
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
        suite, purpose, serializer_id, flags, key_id, issued_ms, not_before_ms, expires_ms, jti,
        untrusted[HEADER_BYTES:start], untrusted[start + 1 : queue_end], untrusted[queue_end + 1 : task_end],
        untrusted[task_end + 1 : body_start], body_start, body_end,
    )  # fmt: skip


def _why_not_an_envelope(untrusted: object, max_bytes: int, suites: AbstractSet[int]) -> str:
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
    if untrusted[SUITE_AT] not in suites:
        return "suite-not-allowed"
    return "unknown-flag"


def prefix_of(suite: int, purpose: int) -> bytes:
    """The first six bytes of the envelopes of this suite and purpose."""
    return PREFIX + bytes((suite, purpose))
