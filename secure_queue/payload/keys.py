"""Signing keys, their text form, and the ring that signs with one of them and verifies with several.

    sqk1:<name>:<state>:hs:<43 characters base64url of 32 bytes>:<8 hex digits>

The last field is the beginning of SHA-256 over everything before its colon, so that a key that lost a character in a
terminal is refused instead of silently becoming another key.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final

from secure_queue.errors import KeyRingError
from secure_queue.payload.ciphers import MacState, expand, extract, mac_state
from secure_queue.secret import Secret

ROOT_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
HOW_TO_MAKE_A_KEY: Final = "make one with `secure-queue keys generate`"

_LABEL: Final = b"secure_queue/v1/"
_PREFIX: Final = "sqk1"
_KIND: Final = "hs"  # symmetric root key for HMAC; the other kinds of the format are not built yet
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BASE64URL_32: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MIN_DISTINCT_BYTES: Final = 20  # a random key has fewer with probability 1.4e-10
_PUBLISHED: Final = frozenset({bytes(range(32))})  # the test vectors of docs/payload-format.md
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\r")


class KeyState(Enum):
    """What a key may do."""

    ACTIVE = "active"  # signs and verifies; exactly one per ring
    VERIFY = "verify"  # verifies only: the next key before its promotion, the last one after it
    REVOKED = "revoked"  # known by its id only, so that its payloads are named as such


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it is written down: in a variable, a file or on a terminal."""

    name: str
    state: KeyState
    root: Secret

    @property
    def key_id(self) -> bytes:
        """The eight bytes by which envelopes refer to this key."""
        return _derive_key_id(extract(_LABEL + b"extract", self.root.reveal()))


class Key:
    """A key that is ready for use; the root bytes are dropped once the HMAC states stand."""

    __slots__ = ("_pseudorandom_key", "_subkeys", "key_id", "name", "state")

    def __init__(self, entry: KeyEntry) -> None:
        check_strength(entry.root)
        self._set(entry)

    @classmethod
    def without_strength_check(cls, entry: KeyEntry) -> Key:
        """Accept any 32 bytes: only for the published test vectors, which a ring would refuse."""
        key = cls.__new__(cls)
        key._set(entry)
        return key

    def _set(self, entry: KeyEntry) -> None:
        check_name(entry.name)
        pseudorandom_key = extract(_LABEL + b"extract", entry.root.reveal())
        self.name = entry.name
        self.state = entry.state
        self.key_id = _derive_key_id(pseudorandom_key)
        self._pseudorandom_key = None if entry.state is KeyState.REVOKED else pseudorandom_key
        self._subkeys: dict[tuple[bytes, int, int], MacState] = {}

    def subkey(self, queue: bytes, suite: int, purpose: int) -> MacState:
        """The subkey for a place that the reader itself expects; kept for the next message."""
        try:
            return self._subkeys[queue, suite, purpose]
        except KeyError:
            subkey = self._subkeys[queue, suite, purpose] = self.unkept_subkey(queue, suite, purpose)
            return subkey

    def unkept_subkey(self, queue: bytes, suite: int, purpose: int) -> MacState:
        """The subkey for names out of an unverified envelope, which must not make a cache grow."""
        if self._pseudorandom_key is None:
            raise KeyRingError(f"key {self.name!r} is revoked and derives nothing")
        length = len(queue).to_bytes(2, "big")
        queue_key = mac_state(expand(self._pseudorandom_key, _LABEL + b"queue" + length + queue))
        return mac_state(expand(queue_key, _LABEL + b"use" + bytes((suite, purpose))))

    def __repr__(self) -> str:
        return f"<Key {self.name} {self.key_id.hex()[:8]} {self.state.value}>"


class KeyRing:
    """One key that signs, any number that verify, and the revoked ones by id."""

    __slots__ = ("_by_id", "active", "keys")

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.active = _the_active_key(self.keys)
        self._by_id = {key.key_id: key for key in self.keys}
        if len(self._by_id) != len(self.keys):
            raise KeyRingError("the same key is given twice; keep one entry of it, in one state")
        if len({key.name for key in self.keys}) != len(self.keys):
            raise KeyRingError("two keys have the same name; names tell keys apart in audits, so give each its own")

    @classmethod
    def of_new_key(cls, name: str = "ephemeral") -> KeyRing:
        """A ring with one fresh random key, for queues that keep to themselves."""
        return cls([Key(generate_key(name))])

    def find(self, key_id: bytes) -> Key | None:
        """The key with this id, in whatever state."""
        return self._by_id.get(key_id)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(f'{key.name}={key.state.value}' for key in self.keys)}>"


def generate_key(name: str, state: KeyState = KeyState.ACTIVE) -> KeyEntry:
    """Make a key of 32 random bytes."""
    check_name(name)
    return KeyEntry(name, state, Secret(secrets.token_bytes(ROOT_BYTES)))


def format_key(entry: KeyEntry) -> str:
    """Write a key as one line of text; the line is the secret."""
    check_name(entry.name)
    body = f"{_PREFIX}:{entry.name}:{entry.state.value}:{_KIND}:{encode_root(entry.root)}"
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


def _unnamed(root: Secret) -> KeyEntry:
    """Name a key by the beginning of its id, which is the same in every process."""
    return KeyEntry(KeyEntry("unnamed", KeyState.ACTIVE, root).key_id.hex()[:8], KeyState.ACTIVE, root)


def check_name(name: str) -> None:
    """Refuse a name that would need quoting in a file, a variable or a log line."""
    if not _NAME.fullmatch(name):
        raise KeyRingError("a key name is 1 to 64 characters of A-Z a-z 0-9 _ . -")


def check_strength(root: Secret) -> None:
    """Refuse what no random generator would have made, with a sentence that says why."""
    problem = _weakness(root.reveal())
    if problem:
        raise KeyRingError(f"the signing key {problem}; {HOW_TO_MAKE_A_KEY}")


def _weakness(root: bytes) -> str:
    distinct = set(root)
    if len(root) != ROOT_BYTES:
        return f"has {len(root)} bytes and must have exactly {ROOT_BYTES} random ones"
    if len(distinct) == 1:
        return "repeats one byte"
    if root in _PUBLISHED:
        return "is a published test vector"
    if distinct <= _PRINTABLE:
        return "is printable text and therefore not random bytes"
    if len(distinct) < _MIN_DISTINCT_BYTES:
        return f"has fewer than {_MIN_DISTINCT_BYTES} distinct bytes, which random bytes do not"
    return ""


def _derive_key_id(pseudorandom_key: MacState) -> bytes:
    return expand(pseudorandom_key, _LABEL + b"kid")[:KEY_ID_BYTES]


def _the_active_key(keys: tuple[Key, ...]) -> Key:
    active = [key for key in keys if key.state is KeyState.ACTIVE]
    if not active:
        raise KeyRingError(f"no key is active, so nothing can be signed; set one to active or {HOW_TO_MAKE_A_KEY}")
    if len(active) > 1:
        raise KeyRingError("more than one key is active; exactly one signs, set the others to verify")
    return active[0]


def _check_digits(body: str) -> str:
    return sha256(body.encode()).hexdigest()[:8]


def _parse_named(text: str) -> KeyEntry:
    body, _, check = text.rpartition(":")
    fields = body.split(":")
    if len(fields) != 5:
        raise KeyRingError(f"the key text is cut short or has too many fields; copy it again or {HOW_TO_MAKE_A_KEY}")
    if check != _check_digits(body):
        raise KeyRingError(f"the key was mistyped or cut: its check digits are wrong; copy it or {HOW_TO_MAKE_A_KEY}")
    _, name, state, kind, encoded = fields
    check_name(name)
    if kind != _KIND:
        raise KeyRingError(f"this release reads keys of kind {_KIND!r} only; {HOW_TO_MAKE_A_KEY}")
    return KeyEntry(name, parse_state(state), decode_root(encoded))


def parse_state(text: str) -> KeyState:
    """Read a state word."""
    try:
        return KeyState(text)
    except ValueError:
        raise KeyRingError("a key state is active, verify or revoked") from None


def _decode_unnamed(text: str) -> Secret:
    # Random base64url of this length is of one case only with probability 4e-10; sentences usually are.
    if not _BASE64URL_32.fullmatch(text) or text in (text.lower(), text.upper()):
        raise KeyRingError(
            "the signing key looks like a passphrase; a key is 32 random bytes, written as `secure-queue keys "
            f"generate` or `secrets.token_urlsafe(32)` write them; {HOW_TO_MAKE_A_KEY}"
        )
    return decode_root(text)


def encode_root(root: Secret) -> str:
    """Write root key bytes as base64url without padding."""
    return urlsafe_b64encode(root.reveal()).decode().rstrip("=")


def decode_root(encoded: str) -> Secret:
    """Read root key bytes and check their strength."""
    root = Secret(urlsafe_b64decode(encoded + "=") if _BASE64URL_32.fullmatch(encoded) else b"")
    if encode_root(root) != encoded:  # the last character has two spare bits, and one key has one spelling
        raise KeyRingError(f"the key is not 43 characters of base64url; copy it again or {HOW_TO_MAKE_A_KEY}")
    check_strength(root)
    return root
