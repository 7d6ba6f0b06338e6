"""From key bytes to the sealers and openers of one place; what is kept holds no key bytes that could be printed."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Protocol

from secure_queue.payload.ciphers import (
    SYMMETRIC,
    Aes256Gcm,
    Ed25519Signer,
    Ed25519Verifier,
    HmacSha256,
    MacState,
    Opener,
    Sealer,
    Suite,
    expand,
    extract,
    mac_state,
)
from secure_queue.payload.grants import Scope

KEY_ID_BYTES: Final = 8

_LABEL: Final = b"secure_queue/v1/"


class Material(Protocol):
    """What a key can do at one place; None where it can do nothing."""

    def sealer(self, queue: bytes, suite: int, purpose: int) -> Sealer | None: ...
    def opener(self, queue: bytes, suite: int, purpose: int) -> Opener | None: ...


class RootMaterial:
    """A root key: everything in every queue, by HMAC and by AES."""

    def __init__(self, root: bytes) -> None:
        self._pseudorandom_key = _extract(root)

    def sealer(self, queue: bytes, suite: int, purpose: int) -> HmacSha256 | Aes256Gcm | None:
        """A sealer and opener for any queue and purpose."""
        return _of_queue(mac_state(_expand_queue(self._pseudorandom_key, queue)), suite, purpose)

    opener = sealer


class QueueMaterial:
    """What was derived from a root for one queue."""

    def __init__(self, key: bytes, scope: Scope) -> None:
        self._state = mac_state(key)
        self._scope = scope

    def sealer(self, queue: bytes, suite: int, purpose: int) -> HmacSha256 | Aes256Gcm | None:
        """A sealer and opener, in the one queue."""
        return _of_queue(self._state, suite, purpose) if self._scope.covers(queue, suite, purpose) else None

    opener = sealer


class UseMaterial:
    """What was derived from a root for one queue, suite and purpose."""

    def __init__(self, key: bytes, scope: Scope) -> None:
        self._both = SYMMETRIC[scope.suite or Suite.HMAC_SHA256](key)
        self._scope = scope

    def sealer(self, queue: bytes, suite: int, purpose: int) -> HmacSha256 | Aes256Gcm | None:
        """The sealer and opener of the one place."""
        return self._both if self._scope.covers(queue, suite, purpose) else None

    opener = sealer


class PublicMaterial:
    """An Ed25519 public key: it opens and can seal nothing."""

    def __init__(self, public: bytes) -> None:
        self._verifier = Ed25519Verifier(public)

    def sealer(self, queue: bytes, suite: int, purpose: int) -> Sealer | None:
        """Nothing."""
        return None

    def opener(self, queue: bytes, suite: int, purpose: int) -> Ed25519Verifier | None:
        """The verifier, for its one suite."""
        return self._verifier if suite == Suite.ED25519 else None


class SeedMaterial(PublicMaterial):
    """An Ed25519 private key, with its public one."""

    def __init__(self, seed: bytes, public: bytes) -> None:
        super().__init__(public)
        self._signer = Ed25519Signer(seed)

    def sealer(self, queue: bytes, suite: int, purpose: int) -> Ed25519Signer | None:
        """The signer, for its one suite."""
        return self._signer if suite == Suite.ED25519 else None


def root_key_id(root: bytes) -> bytes:
    """The id of a root key, and of everything that is derived from it."""
    return expand(_extract(root), _LABEL + b"kid")[:KEY_ID_BYTES]


def public_key_id(public: bytes) -> bytes:
    """The id of an Ed25519 key pair."""
    return sha256(_LABEL + b"kid-ed25519" + public).digest()[:KEY_ID_BYTES]


def queue_key(root: bytes, queue: str) -> bytes:
    """What a party needs that may seal and open everything in one queue."""
    return _expand_queue(_extract(root), queue.encode())


def use_key(queue_key: bytes, suite: int, purpose: int) -> bytes:
    """What a party needs that may seal and open one purpose by one suite, in the queue of *queue_key*."""
    return _expand_use(mac_state(queue_key), suite, purpose)


def _extract(root: bytes) -> MacState:
    return extract(_LABEL + b"extract", root)


def _expand_queue(pseudorandom_key: MacState, queue: bytes) -> bytes:
    return expand(pseudorandom_key, _LABEL + b"queue" + len(queue).to_bytes(2, "big") + queue)


def _expand_use(queue_key: MacState, suite: int, purpose: int) -> bytes:
    return expand(queue_key, _LABEL + b"use" + bytes((suite, purpose)))


def _of_queue(queue_key: MacState, suite: int, purpose: int) -> HmacSha256 | Aes256Gcm | None:
    made = SYMMETRIC.get(suite)
    return made(_expand_use(queue_key, suite, purpose)) if made else None
