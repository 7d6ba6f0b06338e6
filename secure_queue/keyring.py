"""Finds the key ring of a worker object: from the argument, the environment, the key file, or its private server."""

from __future__ import annotations

from collections.abc import Sequence

from secure_queue.payload.key_files import load_key_ring, own_key_ring
from secure_queue.payload.keys import KeyRing
from secure_queue.redis.topology import Embedded, Memory, Topology
from secure_queue.settings import Environment

OWN_KEYS_FILE = "keys.toml"

_shared_in_memory: dict[str, KeyRing] = {}


def ring_for(
    topology: Topology, signing_secret: str | bytes | Sequence[str | bytes] | None, found: Environment
) -> KeyRing:
    """The key ring for a queue on *topology*.

    A private server needs no configured key: ``memory://`` and ``embedded://`` make a fresh one, ``embedded:///folder``
    keeps its own in the folder. There is no way without a key: everywhere else ``KeyRingError`` is raised.
    """
    if signing_secret is None and found.keys is None and found.keys_file is None:
        match topology:
            case Memory(name) if name:
                return _shared_in_memory.setdefault(name, KeyRing.of_new_key())
            case Memory() | Embedded(folder=None):
                return KeyRing.of_new_key()
            case Embedded(folder=folder) if folder is not None:
                return own_key_ring(folder / OWN_KEYS_FILE)
    return load_key_ring(signing_secret, environment_keys=found.keys, keys_file=found.keys_file)
