"""Seals and opens envelopes: bytes plus context, authenticated, checked in one fixed order.

``docs/payload-format.md`` is the normative description. Everything about an envelope is untrusted until its opener has
found it genuine; nothing here turns bytes into objects.
"""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, TypeAlias

from secure_queue.errors import KeyRingError, PayloadError, Rejected
from secure_queue.payload.ciphers import Opener, Sealer, Suite
from secure_queue.payload.compression import FLAG_ZLIB, compress_body, decompress
from secure_queue.payload.grants import Grants
from secure_queue.payload.layout import (
    DEFAULT_LIFETIME_S,
    FLAG_REF,
    HEADER,
    HEADER_BYTES,
    JTI_BYTES,
    LENGTH_BYTE,
    MAGIC,
    MAX_NAME_BYTES,
    NAMES_START,
    NO_EXPIRY,
    SUITE_AT,
    Limits,
    Parsed,
    parse_envelope,
    prefix_of,
)
from secure_queue.payload.purposes import Purpose
from secure_queue.payload.rings import Key, KeyRing, KeyState

__all__ = [
    "DEFAULT_LIFETIME_S",
    "MAGIC",
    "NO_EXPIRY",
    "Limits",
    "Parsed",
    "Purpose",
    "QueueSeal",
    "Verified",
    "compress_body",
    "parse_envelope",
]

_NO_KEYS: Final[dict[bytes, Opener]] = {}

# What a genuine envelope says beyond what its reader knew: function, jti, ref, issued_ms, not_before_ms, expires_ms,
# key_id, suite, serializer_id, body. A bare tuple, because one is made for every task and taken apart by the next line.
Verified: TypeAlias = tuple[str, bytes, bytes, int, int, int | None, bytes, int, int, bytes]


class Signer(NamedTuple):
    """Who seals the messages of one purpose: the first bytes of the envelope, the id of the key, and its sealer."""

    prefix: bytes
    key_id: bytes
    sealer: Sealer
    suite: Suite

    def __repr__(self) -> str:
        return f"<Signer key={self.key_id.hex()[:8]}>"


class QueueSeal:
    """Seals and opens the envelopes of one queue with one ring of keys."""

    __slots__ = (
        "_encrypt", "_grants", "_limits", "_max_bytes", "_openers", "_queue", "_queue_field", "_ring", "_signers",
        "_skew_ms", "_usual",
    )  # fmt: skip

    def __init__(self, ring: KeyRing, queue: str, limits: Limits, encrypt: AbstractSet[Purpose] = frozenset()) -> None:
        self._queue = queue.encode()
        if len(self._queue) > MAX_NAME_BYTES:
            raise PayloadError(f"a queue name has at most {MAX_NAME_BYTES} bytes")
        self._queue_field = LENGTH_BYTE[len(self._queue)] + self._queue
        self._ring = ring
        self._limits = limits
        self._max_bytes = limits.stored_bytes
        self._skew_ms = limits.clock_skew_ms
        self._grants: dict[bytes, Grants] = {key.key_id: key.grants for key in ring.keys if key.is_limited}
        # Every place that this reader expects, and none that a message could add: purpose to the first six bytes of
        # an envelope to key id to what opens it. The suite is found by key and policy.
        self._openers = {purpose: self._openers_of(purpose) for purpose in Purpose}
        encrypters = {purpose: self._signer(purpose, (Suite.AES_256_GCM,)) for purpose in Purpose}
        plain = (Suite.HMAC_SHA256, Suite.ED25519)
        signers = {purpose: self._signer(purpose, plain) or encrypters[purpose] for purpose in Purpose}
        self._signers = {True: encrypters, False: signers}
        self._encrypt = encrypt
        self._usual = {purpose: self._signers[purpose in encrypt][purpose] for purpose in Purpose}
        if not any(signers.values()):
            raise KeyRingError(f"no active key may sign in the queue {queue!r}; give it one, or change its queues")

    def _openers_of(self, purpose: Purpose) -> dict[bytes, dict[bytes, Opener]]:
        return {
            prefix_of(suite, purpose): {
                key.key_id: opener
                for key in self._ring.keys
                if key.grants.permit_place(purpose, self._queue.decode())
                and (opener := key.opener(self._queue, suite, purpose)) is not None
            }
            for suite in self._limits.suites_of(purpose)
        }

    def _signer(self, purpose: Purpose, suites: tuple[Suite, ...]) -> Signer | None:
        queue = self._queue.decode()
        for key in self._ring.keys:
            for suite in suites:
                sealer = key.sealer(queue, suite, purpose)
                if sealer is not None:
                    return Signer(prefix_of(suite, purpose), key.key_id, sealer, suite)
        return None

    def signer(self, purpose: Purpose, encrypt: bool | None = None) -> Signer:
        """Who seals messages of this purpose; raises ``KeyRingError`` if no active key may, or can encrypt.

        A message that need not be encrypted is, if no active key can do anything else.
        """
        found = self._usual[purpose] if encrypt is None else self._signers[encrypt][purpose]
        if found is None:
            encrypt = purpose in self._encrypt if encrypt is None else encrypt
            raise KeyRingError(_no_signer(purpose, encrypt=encrypt))
        return found

    def can_open(self, purpose: Purpose, suite: Suite) -> bool:
        """Whether any key opens messages of this purpose and suite."""
        return bool(self._openers[purpose].get(prefix_of(suite, purpose)))

    def seal(
        self,
        purpose: Purpose,
        body: bytes,
        serializer_id: int,  # keywords would cost a tenth of the whole
        task_id: str,
        function: str,
        issued_ms: int,
        jti: bytes,
        ref: bytes,
        delay_s: int,
        lifetime_s: int,
        flags: int = 0,
        encrypt: bool | None = None,
    ) -> bytes:
        """Seal *body* for exactly one place with the active key; *flags* are those of ``compress_body``."""
        if len(jti) != JTI_BYTES or (ref and len(ref) != JTI_BYTES):
            raise PayloadError(f"jti and ref are {JTI_BYTES} bytes")
        signer = self._usual[purpose] if encrypt is None else self._signers[encrypt][purpose]
        if signer is None:
            signer = self.signer(purpose, encrypt)
        prefix, key_id, sealer, _ = signer
        try:
            task = task_id.encode()
            name = function.encode()
            message = b"".join(
                (
                    HEADER.pack(
                        prefix, serializer_id, (flags | FLAG_REF) if ref else flags, key_id,
                        issued_ms >> 32, issued_ms & 0xFFFFFFFF, delay_s, lifetime_s, jti,
                    ),
                    ref, self._queue_field, LENGTH_BYTE[len(task)], task, LENGTH_BYTE[len(name)], name, body,
                )
            )  # fmt: skip
        except (struct.error, IndexError, UnicodeEncodeError):
            raise PayloadError("a name is no text of at most 255 bytes, or a time does not fit the envelope") from None
        return sealer.seal(message, body)

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
            place = self._queue_field + LENGTH_BYTE[len(task)] + task
        except (IndexError, UnicodeEncodeError):  # nothing was ever sealed under such an id
            raise self._refusal(untrusted, purpose, now_ms) from None
        if type(untrusted) is not bytes or not HEADER_BYTES <= len(untrusted) <= self._max_bytes:
            raise self._refusal(untrusted, purpose, now_ms)
        (
            prefix, serializer_id, flags, key_id, issued_high, issued_low, delay_s, lifetime_s, jti,
        ) = HEADER.unpack_from(untrusted)  # fmt: skip
        opener = self._openers[purpose].get(prefix, _NO_KEYS).get(key_id)
        if (
            opener is None
            or (names_start := NAMES_START.get(flags, 0)) == 0
            or untrusted[names_start : (place_end := names_start + len(place))] != place
            or place_end >= (body_end := len(untrusted) - opener.tail_bytes)
            or (body_start := place_end + 1 + untrusted[place_end]) > body_end
        ):
            raise self._refusal(untrusted, purpose, now_ms)
        body = opener.open(untrusted, body_start, body_end)
        found_function = untrusted[place_end + 1 : body_start].decode(errors="replace")
        if self._grants and key_id in self._grants and not self._grants[key_id].permit_message(found_function, now_ms):
            raise Rejected("key-not-authorised")
        found_ref = untrusted[HEADER_BYTES:names_start] if flags & FLAG_REF else b""
        if (function is not None and function != found_function) or (ref is not None and ref != found_ref):
            raise Rejected("wrong-ref" if function in (None, found_function) else "wrong-function")
        issued_ms = issued_high << 32 | issued_low
        not_before_ms = issued_ms + delay_s * 1000
        expires_ms = not_before_ms + lifetime_s * 1000 if lifetime_s != NO_EXPIRY else None
        if expires_ms is None or not issued_ms - self._skew_ms <= now_ms <= expires_ms + self._skew_ms:
            self._check_time(purpose, issued_ms, expires_ms, now_ms)
        if flags & FLAG_ZLIB:
            body = decompress(body, self._limits.decompressed_bytes)
        return (
            found_function, jti, found_ref, issued_ms, not_before_ms, expires_ms, key_id, untrusted[SUITE_AT],
            serializer_id, body,
        )  # fmt: skip

    def _check_time(self, purpose: Purpose, issued_ms: int, expires_ms: int | None, now_ms: int) -> None:
        if issued_ms > now_ms + self._skew_ms:
            raise Rejected("from-the-future")
        if expires_ms is None:
            if purpose not in self._limits.may_last_forever:
                raise Rejected("no-expiry-not-allowed")
        elif now_ms > expires_ms + self._skew_ms:
            raise Rejected("expired")

    def _refusal(self, untrusted: bytes, purpose: Purpose, now_ms: int) -> Rejected:
        """Say or raise why an envelope was not recognised: the first check that fails, in the documented order."""
        parsed = parse_envelope(untrusted, max_bytes=self._max_bytes, suites=self._limits.suites_of(purpose))
        keys = self._ring.with_id(parsed.key_id)
        if not keys:
            return Rejected("unknown-key")
        if all(key.state is KeyState.REVOKED for key in keys):
            return Rejected("revoked-key")
        if all(parsed.suite not in key.reach.suites for key in keys):
            return Rejected("suite-key-mismatch")
        found = [(key, opener) for key in keys if (opener := key.opener(parsed.queue, parsed.suite, parsed.purpose))]
        if not found:  # derived keys, for other places than the one it names
            return Rejected("unknown-key")
        key, opener = found[0]
        opener.open(untrusted, parsed.body_start, parsed.body_end)
        return self._why_not_here(parsed, purpose, key, now_ms)

    def _why_not_here(self, parsed: Parsed, purpose: Purpose, key: Key, now_ms: int) -> Rejected:
        """Name the fault of a genuine envelope: it was moved or replayed, or its writer exceeded what it may sign."""
        if parsed.purpose != purpose:
            return Rejected("wrong-purpose")
        granted = key.grants.permit_place(parsed.purpose, parsed.queue.decode("utf-8", "replace"))
        if not granted or not key.grants.permit_message(parsed.function.decode("utf-8", "replace"), now_ms):
            return Rejected("key-not-authorised")
        return Rejected("wrong-queue" if parsed.queue != self._queue else "wrong-task")


def _no_signer(purpose: Purpose, *, encrypt: bool) -> str:
    if encrypt:
        return f"no active key can encrypt a {purpose.word}; give this side a symmetric key, or leave out encrypt="
    return f"no active key may sign a {purpose.word} here; that is the work of another side, or of another key"
