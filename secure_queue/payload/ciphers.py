"""The only module that imports ``cryptography``: the suites by number, and the key derivation below them.

A suite seals and opens one envelope: the header is authenticated, the body too, and with AES-256-GCM it is encrypted.

A keyed HMAC state that is copied for each message costs less than half of ``hmac.digest``, which sets the key up
again at every call; and it holds no key bytes that Python code could print or pickle.
"""

from __future__ import annotations

from enum import IntEnum
from hmac import compare_digest
from os import urandom
from typing import ClassVar, Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.hmac import HMAC

from secure_queue.errors import Rejected

MacState: TypeAlias = HMAC

_BAD: Final = "bad-signature"  # one word for tag, commitment and signature: which of them it was helps a forger only

_SHA256: Final = SHA256()
_SHA512: Final = SHA512()
_FIRST_BLOCK: Final = b"\x01"
_KEY_BYTES: Final = 32
_GCM_TAG_BYTES: Final = 16
_SALT_BYTES: Final = 16
_COMMITMENT_BYTES: Final = 32
_BEHIND_TAG: Final = _SALT_BYTES + _COMMITMENT_BYTES
_ONLY_NONCE: Final = bytes(12)


class Suite(IntEnum):
    """How an envelope is authenticated; a property of the key and the policy, never chosen by the message."""

    HMAC_SHA256 = 1
    AES_256_GCM = 2
    ED25519 = 3

    @property
    def word(self) -> str:
        """How key texts spell it."""
        return self.name.lower().replace("_", "-")


TAIL_BYTES: Final = {Suite.HMAC_SHA256: 32, Suite.AES_256_GCM: _GCM_TAG_BYTES + _BEHIND_TAG, Suite.ED25519: 64}
"""How many bytes stand behind the body."""


class Sealer(Protocol):
    """Seals envelopes of one suite, queue and purpose."""

    def seal(self, message: bytes, body: bytes) -> bytes:
        """The whole envelope, made of *message*: the header with *body* at its end."""
        ...


class Opener(Protocol):
    """Opens envelopes of one suite, queue and purpose."""

    tail_bytes: ClassVar[int]

    def open(self, untrusted: bytes, body_start: int, body_end: int) -> bytes:
        """The genuine body, or ``Rejected``; behind *body_end* stand ``tail_bytes`` more."""
        ...


class HmacSha256:
    """Suite 1: HMAC-SHA256 (RFC 2104) over everything before the tag."""

    __slots__ = ("_state",)
    tail_bytes: ClassVar[int] = TAIL_BYTES[Suite.HMAC_SHA256]

    def __init__(self, key: bytes) -> None:
        self._state = mac_state(key)

    def seal(self, message: bytes, body: bytes) -> bytes:
        """The whole envelope."""
        mac = self._state.copy()
        mac.update(message)
        return message + mac.finalize()

    def open(self, untrusted: bytes, body_start: int, body_end: int) -> bytes:
        """The genuine body, or ``Rejected``."""
        mac = self._state.copy()
        mac.update(untrusted[:body_end])
        if not compare_digest(mac.finalize(), untrusted[body_end:]):
            raise Rejected(_BAD)
        return untrusted[body_start:body_end]


class Aes256Gcm:
    """Suite 2: AES-256-GCM under a key of its own for each message, with a commitment to that key and the header.

    Random nonces under one key would end at 2^32 messages, so key and commitment are derived from the header and from a
    salt of 128 random bits; the nonce then never changes. The salt is drawn for every seal: one handle that is sealed twice
    has the same header. GCM alone does not commit: one ciphertext can be made that opens under two keys to different texts.
    The commitment is compared first.
    """

    __slots__ = ("_state",)
    tail_bytes: ClassVar[int] = TAIL_BYTES[Suite.AES_256_GCM]

    def __init__(self, key: bytes) -> None:
        self._state = HMAC(key, _SHA512)

    def seal(self, message: bytes, body: bytes) -> bytes:
        """The whole envelope."""
        header, salt = message[: len(message) - len(body)], urandom(_SALT_BYTES)
        derived = self._derive(header, salt)
        ciphertext = AESGCM(derived[:_KEY_BYTES]).encrypt(_ONLY_NONCE, body, header)
        return b"%b%b%b%b" % (header, ciphertext, salt, derived[_KEY_BYTES:])

    def open(self, untrusted: bytes, body_start: int, body_end: int) -> bytes:
        """The genuine body, or ``Rejected``."""
        header = untrusted[:body_start]
        derived = self._derive(header, untrusted[-_BEHIND_TAG:-_COMMITMENT_BYTES])
        if not compare_digest(derived[_KEY_BYTES:], untrusted[-_COMMITMENT_BYTES:]):
            raise Rejected(_BAD)
        try:
            ciphertext = untrusted[body_start:-_BEHIND_TAG]
            return AESGCM(derived[:_KEY_BYTES]).decrypt(_ONLY_NONCE, ciphertext, header)
        except InvalidTag:
            raise Rejected(_BAD) from None

    def _derive(self, header: bytes, salt: bytes) -> bytes:
        mac = self._state.copy()
        mac.update(header + salt)
        return mac.finalize()


class Ed25519Signer:
    """Suite 3, the writing side: Ed25519 (RFC 8032) over everything before the signature."""

    __slots__ = ("_private",)

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    def seal(self, message: bytes, body: bytes) -> bytes:
        """The whole envelope."""
        return message + self._private.sign(message)


class Ed25519Verifier:
    """Suite 3, the reading side; the public key must have passed ``strength.check_public``."""

    __slots__ = ("_public",)
    tail_bytes: ClassVar[int] = TAIL_BYTES[Suite.ED25519]

    def __init__(self, public: bytes) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(public)

    def open(self, untrusted: bytes, body_start: int, body_end: int) -> bytes:
        """The genuine body, or ``Rejected``."""
        try:
            self._public.verify(untrusted[body_end:], untrusted[:body_end])
        except InvalidSignature:
            raise Rejected(_BAD) from None
        return untrusted[body_start:body_end]


SYMMETRIC: Final[dict[int, type[HmacSha256 | Aes256Gcm]]] = {
    Suite.HMAC_SHA256: HmacSha256,
    Suite.AES_256_GCM: Aes256Gcm,
}
"""The suites whose keys are derived from a root: whoever opens can seal."""


def public_of(seed: bytes) -> bytes:
    """The 32 bytes of the public key that belongs to an Ed25519 seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def mac_state(key: bytes) -> MacState:
    """Return a reusable HMAC-SHA256 state for *key*; ``tag`` copies it and never changes it."""
    return HMAC(key, _SHA256)


def tag(state: MacState, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of *message*."""
    mac = state.copy()
    mac.update(message)
    return mac.finalize()


def extract(salt: bytes, root: bytes) -> MacState:
    """HKDF-Extract (RFC 5869): turn root key bytes into a state that ``expand`` derives from."""
    return mac_state(tag(mac_state(salt), root))


def expand(pseudorandom_key: MacState, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) of exactly one block: for 32 bytes or fewer it is one HMAC of ``info + 01``."""
    return tag(pseudorandom_key, info + _FIRST_BLOCK)
