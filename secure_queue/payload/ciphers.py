"""The only module that imports ``cryptography``: authentication suites by number, and the key derivation below them.

Suite 1 is HMAC-SHA256 (RFC 2104). Suites 2 (authenticated encryption) and 3 (Ed25519) have their numbers and their
place in the wire format, and are refused until they are built.

A keyed HMAC state that is copied for each message costs less than half of ``hmac.digest``, which sets the key up
again at every call; and it holds no key bytes that Python code could print or pickle.
"""

from __future__ import annotations

from enum import IntEnum
from hmac import compare_digest
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

MacState: TypeAlias = HMAC

TAG_BYTES: Final = 32
_SHA256: Final = SHA256()
_FIRST_BLOCK: Final = b"\x01"


class Suite(IntEnum):
    """How an envelope is authenticated; a property of the key, never chosen by the message."""

    HMAC_SHA256 = 1


def mac_state(key: bytes) -> MacState:
    """Return a reusable HMAC-SHA256 state for *key*; ``tag`` copies it and never changes it."""
    return HMAC(key, _SHA256)


def tag(state: MacState, message: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of *message*."""
    mac = state.copy()
    mac.update(message)
    return mac.finalize()


tags_equal: Final = compare_digest  # in constant time


def extract(salt: bytes, root: bytes) -> MacState:
    """HKDF-Extract (RFC 5869): turn root key bytes into a state that ``expand`` derives from."""
    return mac_state(tag(mac_state(salt), root))


def expand(pseudorandom_key: MacState, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) of exactly one block: for 32 bytes or fewer it is one HMAC of ``info + 01``."""
    return tag(pseudorandom_key, info + _FIRST_BLOCK)
