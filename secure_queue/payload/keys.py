"""Keys as text: one line that is checked for every character, and the field in it that holds the key.

    sqk1:<name>:<state>:hs:<43 characters>:<check>                                      a root key
    sqk1:<name>:<state>:hq:<key id>.<queue>.<43 characters>:<check>                     one queue
    sqk1:<name>:<state>:hu:<key id>.<queue>.<suite>.<purpose>.<43 characters>:<check>   one use
    sqk1:<name>:<state>:es:<43 characters>:<check>                                      an Ed25519 seed
    sqk1:<name>:<state>:ep:<43 characters>:<check>                                      an Ed25519 public key

The characters are base64url of 32 bytes. The check is the beginning of SHA-256 over everything before its colon, so that
a key that lost a character in a terminal is refused instead of silently becoming another key.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

from secure_queue import names
from secure_queue.errors import ConfigurationError, KeyRingError
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.grants import Scope
from secure_queue.payload.materials import KEY_ID_BYTES
from secure_queue.payload.purposes import Purpose
from secure_queue.payload.rings import (
    Key,
    KeyEntry,
    KeyKind,
    KeyRing,
    KeyState,
    check_name,
    generate_key,
    next_key,
    public_key,
    scoped_key,
)
from secure_queue.payload.strength import HOW_TO_MAKE_A_KEY, check_public, check_strength
from secure_queue.secret import Secret

__all__ = [
    "HOW_TO_MAKE_A_KEY",
    "Key",
    "KeyEntry",
    "KeyKind",
    "KeyRing",
    "KeyState",
    "check_name",
    "decode_field",
    "encode_field",
    "format_key",
    "generate_key",
    "has_state",
    "next_key",
    "parse_key",
    "parse_kind",
    "parse_purpose",
    "parse_state",
    "public_key",
    "raw_entry",
    "scoped_key",
]

_PREFIX: Final = "sqk1"
_BASE64URL_32: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_KEY_ID: Final = re.compile(rf"[0-9a-f]{{{2 * KEY_ID_BYTES}}}")
_SUITES: Final = {suite.word: suite for suite in (Suite.HMAC_SHA256, Suite.AES_256_GCM)}
_PURPOSES: Final = {purpose.word: purpose for purpose in Purpose}


def format_key(entry: KeyEntry) -> str:
    """Write a key as one line of text; unless it is a public key, the line is the secret."""
    check_name(entry.name)
    body = f"{_PREFIX}:{entry.name}:{entry.state.value}:{entry.kind.value}:{encode_field(entry)}"
    return f"{body}:{_check_digits(body)}"


def parse_key(text: str) -> KeyEntry:
    """Read a key from the ``sqk1:`` form, or from what ``secrets.token_urlsafe(32)`` returns.

    The second form has no name and no state: it becomes an active key named by the beginning of its id.
    """
    text = text.strip()
    if not text:
        raise KeyRingError(f"the signing key is empty; {HOW_TO_MAKE_A_KEY}")
    return _parse_named(text) if has_state(text) else _unnamed(_decode_unnamed(text))


def raw_entry(root: bytes) -> KeyEntry:
    """Take 32 random bytes as an active key."""
    secret = Secret(root)
    check_strength(secret)
    return _unnamed(secret)


def has_state(text: str) -> bool:
    """Say whether a key text carries a name and a state of its own."""
    return text.strip().startswith(f"{_PREFIX}:")


def parse_state(text: str) -> KeyState:
    """Read a state word."""
    try:
        return KeyState(text)
    except ValueError:
        raise KeyRingError("a key state is active, verify or revoked") from None


def parse_kind(text: str) -> KeyKind:
    """Read the two letters that say what the bytes of a key are."""
    try:
        return KeyKind(text)
    except ValueError:
        raise KeyRingError(f"a key kind is hs, hq, hu, es or ep; {HOW_TO_MAKE_A_KEY}") from None


def parse_purpose(text: str) -> Purpose:
    """Read the word for a purpose."""
    if text not in _PURPOSES:
        raise KeyRingError(f"a purpose is one of {', '.join(_PURPOSES)}")
    return _PURPOSES[text]


def encode_field(entry: KeyEntry) -> str:
    """The field that holds the key, as its kind wants it."""
    if entry.scope is None:
        return _encode_bytes(entry.material)
    where = [entry.scope.key_id.hex(), entry.scope.queue]
    if entry.scope.suite is not None and entry.scope.purpose is not None:
        where += [entry.scope.suite.word, entry.scope.purpose.word]
    return ".".join((*where, _encode_bytes(entry.material)))


def decode_field(name: str, state: KeyState, kind: KeyKind, field: str) -> KeyEntry:
    """Read the field that holds the key, and check the key's strength."""
    if kind is KeyKind.PUBLIC:
        public = _decode_bytes(field)
        check_public(public)
        return KeyEntry(name, state, public, kind)
    if kind in (KeyKind.ROOT, KeyKind.SEED):
        return KeyEntry(name, state, _decode_secret(field), kind)
    where, _, encoded = field.rpartition(".")
    key_id, _, where = where.partition(".")
    return KeyEntry(name, state, _decode_secret(encoded), kind, _scope(key_id, where, kind))


def _encode_bytes(material: Secret) -> str:
    """Write key bytes as base64url without padding."""
    return urlsafe_b64encode(material.reveal()).decode().rstrip("=")


def _decode_secret(encoded: str) -> Secret:
    """Read secret key bytes and check their strength."""
    secret = _decode_bytes(encoded)
    check_strength(secret)
    return secret


def _decode_bytes(encoded: str) -> Secret:
    material = Secret(urlsafe_b64decode(encoded + "=") if _BASE64URL_32.fullmatch(encoded) else b"")
    if _encode_bytes(material) != encoded:  # the last character has two spare bits, and one key has one spelling
        raise KeyRingError(f"the key is not 43 characters of base64url; copy it again or {HOW_TO_MAKE_A_KEY}")
    return material


def _scope(key_id: str, where: str, kind: KeyKind) -> Scope:
    suite = purpose = None
    if kind is KeyKind.USE:
        where, _, purpose_word = where.rpartition(".")
        where, _, suite_word = where.rpartition(".")
        suite, purpose = _parse_suite(suite_word), parse_purpose(purpose_word)
    if not _KEY_ID.fullmatch(key_id):
        raise KeyRingError("a scoped key begins with the id of its root in 16 hex digits; copy it again")
    try:
        return Scope(bytes.fromhex(key_id), names.queue_name(where), suite, purpose)
    except ConfigurationError as error:
        raise KeyRingError(f"the queue of a scoped key: {error}") from None


def _parse_suite(text: str) -> Suite:
    if text not in _SUITES:
        raise KeyRingError(f"the suite of a scoped key is one of {', '.join(_SUITES)}")
    return _SUITES[text]


def _unnamed(root: Secret) -> KeyEntry:
    """Name a key by the beginning of its id, which is the same in every process."""
    return KeyEntry(KeyEntry("unnamed", KeyState.ACTIVE, root).key_id.hex()[:8], KeyState.ACTIVE, root)


def _check_digits(body: str) -> str:
    return sha256(body.encode()).hexdigest()[:8]


def _parse_named(text: str) -> KeyEntry:
    body, _, check = text.rpartition(":")
    fields = body.split(":")
    if len(fields) != 5:
        raise KeyRingError(f"the key text is cut short or has too many fields; copy it again or {HOW_TO_MAKE_A_KEY}")
    if check != _check_digits(body):
        raise KeyRingError(f"the key was mistyped or cut: its check digits are wrong; copy it or {HOW_TO_MAKE_A_KEY}")
    _, name, state, kind, field = fields
    check_name(name)
    return decode_field(name, parse_state(state), parse_kind(kind), field)


def _decode_unnamed(text: str) -> Secret:
    # Random base64url of this length is of one case only with probability 4e-10; sentences usually are.
    if not _BASE64URL_32.fullmatch(text) or text in (text.lower(), text.upper()):
        raise KeyRingError(
            "the signing key looks like a passphrase; a key is 32 random bytes, written as `secure-queue keys "
            f"generate` or `secrets.token_urlsafe(32)` write them; {HOW_TO_MAKE_A_KEY}"
        )
    return _decode_secret(text)
