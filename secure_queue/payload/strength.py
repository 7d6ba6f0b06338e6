"""Refuses key bytes that no generator would have made or that are published, and public keys that prove nothing."""

from __future__ import annotations

from typing import Final

from secure_queue.errors import KeyRingError
from secure_queue.secret import Secret

KEY_BYTES: Final = 32
HOW_TO_MAKE_A_KEY: Final = "make one with `secure-queue keys generate`"

_MIN_DISTINCT_BYTES: Final = 20  # a random key has fewer with probability 1.4e-10
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r")
_PUBLISHED: Final = frozenset({bytes(range(32))})  # the test vectors of docs/payload-format.md: root and seed
PUBLISHED_IDS: Final = frozenset({bytes.fromhex("fe6eefada229b8c3"), bytes.fromhex("37a25733a23599af")})
"""What is derived from them has these key ids."""

_FIELD: Final = 2**255 - 19
_WITHOUT_SIGN: Final = 2**255 - 1
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
"""The y coordinates of the eight points whose order divides 8."""


def check_strength(material: Secret) -> None:
    """Refuse what no random generator would have made, with a sentence that says why."""
    problem = _weakness(material.reveal())
    if problem:
        raise KeyRingError(f"the signing key {problem}; {HOW_TO_MAKE_A_KEY}")


def check_public(material: Secret) -> None:
    """Refuse public keys under which a forged signature can pass, and spellings that are not the only one.

    Under a point of small order a signature that needs no private key verifies for any message in up to all tries, and
    the library below loads such points.
    """
    public = material.reveal()
    y = int.from_bytes(public, "little") & _WITHOUT_SIGN
    if len(public) != KEY_BYTES:
        raise KeyRingError(f"a public key has exactly {KEY_BYTES} bytes; copy it again from `secure-queue keys public`")
    if y >= _FIELD or y in _SMALL_ORDER:
        raise KeyRingError(
            "the public key is a point of small order or not in its canonical form, so that signatures under it prove "
            "nothing; copy it again from `secure-queue keys public`"
        )


def _weakness(material: bytes) -> str:
    distinct = set(material)
    if len(material) != KEY_BYTES:
        return f"has {len(material)} bytes and must have exactly {KEY_BYTES} random ones"
    if len(distinct) == 1:
        return "repeats one byte"
    if material in _PUBLISHED:
        return "is a published test vector"
    if distinct <= _PRINTABLE:
        return "is printable text and therefore not random bytes"
    if len(distinct) < _MIN_DISTINCT_BYTES:
        return f"has fewer than {_MIN_DISTINCT_BYTES} distinct bytes, which random bytes do not"
    return ""
