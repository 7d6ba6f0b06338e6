"""Keys that are ready for use, and the ring of them: who signs what, and whose signatures count for what."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from itertools import combinations
from typing import Final

from secure_queue.errors import KeyRingError
from secure_queue.payload.ciphers import Opener, Sealer, Suite, public_of
from secure_queue.payload.grants import EVERYTHING, Grants, Reach, Scope
from secure_queue.payload.materials import (
    Material,
    PublicMaterial,
    QueueMaterial,
    RootMaterial,
    SeedMaterial,
    UseMaterial,
    public_key_id,
    queue_key,
    root_key_id,
    use_key,
)
from secure_queue.payload.purposes import Purpose
from secure_queue.payload.strength import HOW_TO_MAKE_A_KEY, KEY_BYTES, PUBLISHED_IDS, check_public, check_strength
from secure_queue.secret import Secret


class KeyState(Enum):
    """What a key may do."""

    ACTIVE = "active"  # signs and verifies; exactly one for each purpose
    VERIFY = "verify"  # verifies only: the next key before its promotion, the last one after it
    REVOKED = "revoked"  # known by its id only, so that its payloads are named as such


class KeyKind(StrEnum):
    """What the bytes of a key are."""

    ROOT = "hs"  # symmetric: everything in every queue
    QUEUE = "hq"  # derived from a root: everything in one queue
    USE = "hu"  # derived from a root: one purpose by one suite in one queue
    SEED = "es"  # Ed25519: signs
    PUBLIC = "ep"  # Ed25519: verifies and can sign nothing


_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SYMMETRIC: Final = frozenset({Suite.HMAC_SHA256, Suite.AES_256_GCM})
_PAIRS: Final = frozenset({KeyKind.SEED, KeyKind.PUBLIC})


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it is written down: in a variable, a file or on a terminal."""

    name: str
    state: KeyState
    material: Secret
    kind: KeyKind = KeyKind.ROOT
    scope: Scope | None = None
    """Where a derived key counts; the other kinds have none."""
    grants: Grants = EVERYTHING
    """What an Ed25519 key may sign; the other kinds have no grants."""

    @property
    def key_id(self) -> bytes:
        """The eight bytes by which envelopes refer to this key."""
        material = self.material.reveal()
        match self.kind:
            case KeyKind.SEED:
                return public_key_id(public_of(material))
            case KeyKind.PUBLIC:
                return public_key_id(material)
            case KeyKind.QUEUE | KeyKind.USE if self.scope is not None:
                return self.scope.key_id
        return root_key_id(material)

    @property
    def suites(self) -> frozenset[Suite]:
        """The suites that this kind of key is for."""
        if self.kind in _PAIRS:
            return frozenset({Suite.ED25519})
        suite = self.scope.suite if self.scope is not None else None
        return _SYMMETRIC if suite is None else frozenset({suite})

    @property
    def reach(self) -> Reach:
        """Everything that a key of this kind, scope and grants could sign."""
        purpose = self.scope.purpose if self.scope is not None else None
        purposes = self.grants.purposes if purpose is None else frozenset({purpose})
        queues = self.grants.queues if self.scope is None else (self.scope.queue,)
        return Reach(self.suites, purposes, queues)


class Key:
    """A key that is ready for use; its bytes are dropped once the derived states stand."""

    __slots__ = ("_material", "grants", "key_id", "kind", "name", "reach", "scope", "state")

    def __init__(self, entry: KeyEntry) -> None:
        (check_public if entry.kind is KeyKind.PUBLIC else check_strength)(entry.material)
        if entry.key_id in PUBLISHED_IDS:
            raise KeyRingError(f"the signing key belongs to a published test vector; {HOW_TO_MAKE_A_KEY}")
        self._set(entry)

    @classmethod
    def without_strength_check(cls, entry: KeyEntry) -> Key:
        """Accept any 32 bytes: only for the published test vectors, which a ring would refuse."""
        key = cls.__new__(cls)
        key._set(entry)
        return key

    def _set(self, entry: KeyEntry) -> None:
        if entry.kind is KeyKind.PUBLIC and entry.state is KeyState.ACTIVE:
            raise KeyRingError(f"key {entry.name!r} is a public key and cannot sign; set its state to verify")
        check_name(entry.name)
        self.name = entry.name
        self.state = entry.state
        self.kind = entry.kind
        self.scope = entry.scope
        self.grants = entry.grants
        self.reach = entry.reach
        self.key_id = entry.key_id
        self._material = None if entry.state is KeyState.REVOKED else _material(entry)

    def sealer(self, queue: str, suite: int, purpose: int) -> Sealer | None:
        """What signs at this place; None if the key does not sign, or not there."""
        if self._material is None or self.state is not KeyState.ACTIVE or not self.grants.permit_place(purpose, queue):
            return None
        return self._material.sealer(queue.encode(), suite, purpose)

    def opener(self, queue: bytes, suite: int, purpose: int) -> Opener | None:
        """What verifies at this place, if the key can; whether it is granted is another question.

        Made anew at each call: a name out of an unverified envelope must not make a cache grow.
        """
        return None if self._material is None else self._material.opener(queue, suite, purpose)

    @property
    def is_limited(self) -> bool:
        """Whether a genuine message can still be more than its key may sign."""
        return self.grants != EVERYTHING

    def __repr__(self) -> str:
        return f"<Key {self.name} {self.key_id.hex()[:8]} {self.state.value}>"


class KeyRing:
    """Keys that sign, at most one for each purpose and place, any number that verify, and revoked ones by id."""

    __slots__ = ("_by_id", "active", "keys")

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.active = _first_active(self.keys)
        check_who_signs(self.keys)
        self._by_id: dict[bytes, tuple[Key, ...]] = {}
        for key in self.keys:
            self._by_id[key.key_id] = (*self.with_id(key.key_id), key)
        for alike in self._by_id.values():
            if not all(_are_parts_of_one_root(*pair) for pair in combinations(alike, 2)):
                raise KeyRingError("the same key is given twice; keep one entry of it, in one state")
        if len({key.name for key in self.keys}) != len(self.keys):
            raise KeyRingError("two keys have the same name; names tell keys apart in audits, so give each its own")

    @classmethod
    def of_new_key(cls, name: str = "ephemeral") -> KeyRing:
        """A ring with one fresh random key, for queues that keep to themselves."""
        return cls([Key(generate_key(name))])

    def with_id(self, key_id: bytes) -> tuple[Key, ...]:
        """The keys with this id, in whatever state: one, or the derived ones of one root."""
        return self._by_id.get(key_id, ())

    def find(self, key_id: bytes) -> Key | None:
        """The key with this id, or the first of those that are derived from it."""
        return next(iter(self.with_id(key_id)), None)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(f'{key.name}={key.state.value}' for key in self.keys)}>"


def generate_key(name: str, state: KeyState = KeyState.ACTIVE, kind: KeyKind = KeyKind.ROOT) -> KeyEntry:
    """Make a key of 32 random bytes: a root, or an Ed25519 seed."""
    check_name(name)
    return KeyEntry(name, state, Secret(secrets.token_bytes(KEY_BYTES)), kind)


def next_key(old: KeyEntry, name: str) -> KeyEntry:
    """A fresh key that can take the place of *old*: of the same kind, with the same grants; it verifies at first."""
    if old.kind not in (KeyKind.ROOT, KeyKind.SEED):
        raise KeyRingError(
            f"key {old.name!r} was derived or is public; make its successor where its own origin is kept"
        )
    return replace(generate_key(name, KeyState.VERIFY, old.kind), grants=old.grants)


def public_key(pair: KeyEntry, grants: Grants | None = None) -> KeyEntry:
    """The public half of an Ed25519 seed, as a key that verifies."""
    if pair.kind is not KeyKind.SEED:
        raise KeyRingError(f"key {pair.name!r} is no Ed25519 seed and has no public half; make one with --kind ed25519")
    public = Secret(public_of(pair.material.reveal()))
    return KeyEntry(pair.name, KeyState.VERIFY, public, KeyKind.PUBLIC, grants=grants or pair.grants)


def scoped_key(
    root: KeyEntry, name: str, queue: str, suite: Suite | None = None, purpose: Purpose | None = None
) -> KeyEntry:
    """What is derived from a root for one queue, and there for one suite and purpose if they are given."""
    if root.kind is not KeyKind.ROOT:
        raise KeyRingError(f"key {root.name!r} is no root key, and only from a root can scoped keys be derived")
    material = queue_key(root.material.reveal(), queue)
    kind = KeyKind.QUEUE
    if suite is not None and purpose is not None:
        material, kind = use_key(material, suite, purpose), KeyKind.USE
    scope = Scope(root.key_id, queue, *((suite, purpose) if kind is KeyKind.USE else ()))
    return KeyEntry(name, root.state, Secret(material), kind, scope)


def check_name(name: str) -> None:
    """Refuse a name that would need quoting in a file, a variable or a log line."""
    if not _NAME.fullmatch(name):
        raise KeyRingError("a key name is 1 to 64 characters of A-Z a-z 0-9 _ . -")


def check_who_signs(keys: Iterable[KeyEntry | Key]) -> None:
    """Refuse two active keys of which either could sign the same message."""
    active = [key.reach for key in keys if key.state is KeyState.ACTIVE]
    if any(one.overlaps(other) for one, other in combinations(active, 2)):
        raise KeyRingError("more than one key is active; exactly one signs, set the others to verify")


def _first_active(keys: tuple[Key, ...]) -> Key:
    for key in keys:
        if key.state is KeyState.ACTIVE:
            return key
    raise KeyRingError(f"no key is active, so nothing can be signed; set one to active or {HOW_TO_MAKE_A_KEY}")


def _are_parts_of_one_root(one: Key, other: Key) -> bool:
    return None not in (one.scope, other.scope) and one.scope != other.scope


def _material(entry: KeyEntry) -> Material:
    material, scope = entry.material.reveal(), entry.scope
    match entry.kind:
        case KeyKind.SEED:
            return SeedMaterial(material, public_of(material))
        case KeyKind.PUBLIC:
            return PublicMaterial(material)
        case KeyKind.QUEUE if scope is not None:
            return QueueMaterial(material, scope)
        case KeyKind.USE if scope is not None:
            return UseMaterial(material, scope)
    return RootMaterial(material)
