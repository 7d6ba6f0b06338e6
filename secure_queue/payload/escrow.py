"""Seals a secret to somebody who is not there: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM.

An auditor's public key lets every process hand over the first key of its chain of records, which then only the auditor has.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from secure_queue.errors import KeyRingError, Rejected

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO: Final = b"secure_queue/v1/audit-escrow"
_PUBLIC: Final = re.compile(r"sqa1:public:([A-Za-z0-9_-]{43})")
_PRIVATE: Final = re.compile(r"sqa1:private:([A-Za-z0-9_-]{43})")
HOW_TO_MAKE_ONE: Final = "make a pair with `secure-queue audit log keygen`"


def new_auditor() -> tuple[str, str]:
    """A fresh pair as text: the private key for the auditor alone, the public one for every process."""
    private = X25519PrivateKey.generate()
    return (
        f"sqa1:private:{_text(private.private_bytes_raw())}",
        f"sqa1:public:{_text(private.public_key().public_bytes_raw())}",
    )


def read_public(text: str) -> X25519PublicKey:
    """Read an auditor's public key; raises ``KeyRingError``."""
    return X25519PublicKey.from_public_bytes(_bytes(_PUBLIC, text, "public"))


def read_private(text: str) -> X25519PrivateKey:
    """Read an auditor's private key; raises ``KeyRingError``."""
    return X25519PrivateKey.from_private_bytes(_bytes(_PRIVATE, text, "private"))


def seal_to(public: X25519PublicKey, secret: bytes) -> bytes:
    """Seal *secret* so that only the holder of the private key can open it."""
    return bytes(_SUITE.encrypt(secret, public, info=_INFO))


def open_with(private: X25519PrivateKey, untrusted: bytes) -> bytes:
    """Open what was sealed to this key; raises ``Rejected``."""
    try:
        return bytes(_SUITE.decrypt(untrusted, private, info=_INFO))
    except (InvalidTag, ValueError):
        problem = "bad-escrow"
    raise Rejected(problem)


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(form: re.Pattern[str], text: str, kind: str) -> bytes:
    found = form.fullmatch(text.strip())
    if found is None:
        raise KeyRingError(f"this is no {kind} key of an auditor; {HOW_TO_MAKE_ONE}")
    return urlsafe_b64decode(found[1] + "=")
