"""Finds the key ring of a worker object: from the argument, the environment, the key file, or its private server.

A ring that comes from a file is read anew when the file changes, so that a rotation needs no restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from secure_queue.errors import KeyRingError
from secure_queue.payload.codec import Codec, Habits
from secure_queue.payload.escrow import read_public
from secure_queue.payload.key_files import load_key_ring, own_key_ring, read_key_file, ring_of
from secure_queue.payload.key_tables import StoredKey
from secure_queue.payload.keys import KeyRing
from secure_queue.payload.serializers import Serializer
from secure_queue.redis.topology import Embedded, Memory, Topology
from secure_queue.settings import Environment, flags

OWN_KEYS_FILE = "keys.toml"
LOOK_S = 5.0
"""How often a file is looked at."""

_shared_in_memory: dict[str, KeyRing] = {}

_audit_log = logging.getLogger("secure_queue.audit")

Stamp = tuple[object, ...]


class LiveKeys:
    """The ring in use, and the file that it is read from, if it comes from one."""

    def __init__(self, ring: KeyRing, file: Path | None = None) -> None:
        self.ring = ring
        self.file = file
        self._listeners: list[Callable[[KeyRing], object]] = []
        self._conditions: list[Callable[[KeyRing], object]] = []
        self._stamp: Stamp | None = None  # so the first look reads once more what may have changed since the start

    def tell(self, listener: Callable[[KeyRing], object]) -> None:
        """Call *listener* with every new ring; one that it cannot use (``KeyRingError``) is not taken."""
        self._listeners.append(listener)

    @contextmanager
    def that_pass(self, condition: Callable[[KeyRing], object]) -> Iterator[None]:
        """While the context is open the ring passes *condition* (else ``KeyRingError``): this one, and each new one."""
        condition(self.ring)
        self._conditions.append(condition)
        try:
            yield
        finally:
            self._conditions.remove(condition)

    def look(self) -> bool:
        """Read the file again if it has changed since the last look; say whether there is a new ring.

        A file that cannot be used leaves the ring as it is; that is reported once, until the file changes again.
        """
        if self.file is None or self._stamp == (stamp := _stamp_of(self.file, self._secret_files)):
            return False
        self._stamp = stamp
        try:
            ring = self._read(self.file)
            if _facts(ring) == _facts(self.ring):
                return False
            for hear in (*self._conditions, *self._listeners):
                hear(ring)
        except KeyRingError as error:
            _audit_log.error("the key file has changed and cannot be used; the keys stay as they were: %s", error)
            return False
        self.ring = ring
        _audit_log.warning("the keys have changed: %r", ring)
        return True

    _secret_files: tuple[Path, ...] = ()

    def _read(self, file: Path) -> KeyRing:
        """What is returned was read after its stamp was taken, so that no change can be missed."""
        self._secret_files = _secret_files(file, read_key_file(file))
        self._stamp = _stamp_of(file, self._secret_files)
        return ring_of(stored.entry for stored in read_key_file(file))


def keys_for(
    topology: Topology, signing_secret: str | bytes | Sequence[str | bytes] | None, found: Environment
) -> LiveKeys:
    """The keys for a queue on *topology*.

    A private server needs no configured key: ``memory://`` and ``embedded://`` make a fresh one, ``embedded:///folder``
    keeps its own in the folder. There is no way without a key: everywhere else ``KeyRingError`` is raised.
    """
    if signing_secret is None and found.keys is None and found.keys_file is None:
        match topology:
            case Memory(name) if name:
                return LiveKeys(_shared_in_memory.setdefault(name, KeyRing.of_new_key()))
            case Memory() | Embedded(folder=None):
                return LiveKeys(KeyRing.of_new_key())
            case Embedded(folder=folder) if folder is not None:
                file = folder / OWN_KEYS_FILE
                return LiveKeys(own_key_ring(file), file)
    ring = load_key_ring(signing_secret, environment_keys=found.keys, keys_file=found.keys_file)
    from_file = signing_secret is None and found.keys is None and found.keys_file
    return LiveKeys(ring, Path(found.keys_file) if from_file and found.keys_file else None)


def codec_of(keys: LiveKeys, queue_name: str, serializer: Serializer, habits: Habits) -> Codec:
    """A codec that goes on with every new ring; raises ``ConfigurationError`` for habits that are neither yes nor no."""
    flags(encrypt=habits.encrypt, compress=habits.compress, require_encryption=habits.require_encryption)
    codec = Codec(keys.ring, queue_name, serializer, habits=habits)
    keys.tell(codec.use)
    return codec


def auditor_of(found: Environment) -> str | None:
    """The public key of the auditor, checked; raises ``KeyRingError`` if it is none."""
    if found.audit_key is not None:
        read_public(found.audit_key)
    return found.audit_key


def _secret_files(file: Path, stored: Sequence[StoredKey]) -> tuple[Path, ...]:
    return tuple(file.parent / key.secret_file for key in stored if key.secret_file is not None)


def _stamp_of(file: Path, secret_files: Sequence[Path]) -> Stamp:
    """What tells a changed file from an unchanged one, without opening it."""
    return tuple(_facts_of_file(path) for path in (file, *secret_files))


def _facts_of_file(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid


def _facts(ring: KeyRing) -> list[tuple[object, ...]]:
    return [(key.name, key.key_id, key.state, key.kind, key.scope, key.grants) for key in ring.keys]
