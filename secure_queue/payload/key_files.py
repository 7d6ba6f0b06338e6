"""Finds the signing keys: in an argument, a variable or a key file; and keeps that file.

    [[key]]
    name = "2026-12"
    state = "active"                                # active | verify | revoked
    secret = "<43 characters base64url>"            # or: secret_file = "/run/secrets/secure-queue-2026-12"

    [[key]]
    name = "web-1"
    state = "verify"
    public = "<43 characters base64url>"            # an Ed25519 key; then what its holder may sign
    purposes = ["task"]
    queues = ["emails"]
    functions = ["send_*"]
    not_after = 2027-06-01T00:00:00Z

The file is written without a library, because everything in it is a validated name, a state word, base64url or a text of
plain characters. Comments in it do not survive a change.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from secure_queue.errors import KeyRingError
from secure_queue.payload.key_tables import StoredKey, key_of_table, table_text
from secure_queue.payload.keys import (
    HOW_TO_MAKE_A_KEY,
    Key,
    KeyEntry,
    KeyRing,
    KeyState,
    generate_key,
    has_state,
    parse_key,
    raw_entry,
)
from secure_queue.payload.rings import check_who_signs
from secure_queue.payload.strength import KEY_BYTES

SigningSecret = str | bytes | Sequence[str | bytes]

_MAX_FILE_BYTES: Final = 1 << 20
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_HEADER: Final = "# Signing keys of secure_queue. Whoever can read this file can sign tasks.\n"


def load_key_ring(
    signing_secret: SigningSecret | None, *, environment_keys: str | None, keys_file: str | None
) -> KeyRing:
    """Make the ring from the first source that is given: the argument, the variable, or the file.

    In a sequence the first key that is active, or says nothing, signs; the others like it verify. A source that is
    given but empty is an error: it never means "no signing".
    """
    if signing_secret is not None:
        return ring_of(entries_of_argument(signing_secret))
    if environment_keys is not None:
        return ring_of(entries_of_text(environment_keys))
    if keys_file:
        return ring_of(stored.entry for stored in read_key_file(Path(keys_file)))
    raise KeyRingError(
        f"no signing key is configured: {HOW_TO_MAKE_A_KEY} and put it into the variable SECURE_QUEUE_KEYS, or name "
        "a key file in SECURE_QUEUE_KEYS_FILE, or pass signing_secret="
    )


def own_key_ring(path: Path) -> KeyRing:
    """The ring of a private server: read from the file *path*, which is made with a fresh key on first use."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was first, and its key counts
            _write_new(path, _file_text([StoredKey(generate_key("own"))]))
    return ring_of(stored.entry for stored in read_key_file(path))


def ring_of(entries: Iterable[KeyEntry]) -> KeyRing:
    """Make a ring; raises ``KeyRingError`` unless exactly one key is active and all differ."""
    return KeyRing(Key(entry) for entry in entries)


# --- keys in an argument or a variable ---


def entries_of_argument(signing_secret: SigningSecret) -> list[KeyEntry]:
    """Read one key or a sequence: the first that may sign does, and the others that may sign verify."""
    if isinstance(signing_secret, str):
        return entries_of_text(signing_secret)
    parts = [signing_secret] if isinstance(signing_secret, bytes) else list(signing_secret)
    if not parts:
        raise KeyRingError(f"the signing key is empty; {HOW_TO_MAKE_A_KEY}")
    return _first_active_signs([_entry(part) for part in parts])


def entries_of_text(text: str) -> list[KeyEntry]:
    """Read keys that are separated by commas, as in ``SECURE_QUEUE_KEYS``; only one may call itself active."""
    parts = [part.strip() for part in text.split(",")]
    entries = [_entry(part) for part in parts]
    named = [entry for part, entry in zip(parts, entries, strict=True) if has_state(part)]
    check_who_signs(named)
    return _first_active_signs(entries)


def _entry(part: str | bytes) -> KeyEntry:
    if not part:
        raise KeyRingError(f"the signing key is empty; {HOW_TO_MAKE_A_KEY}")
    if isinstance(part, str):
        return parse_key(part)
    if part.isascii() and len(part) != KEY_BYTES:
        return parse_key(part.decode())
    return raw_entry(part)


def _first_active_signs(entries: list[KeyEntry]) -> list[KeyEntry]:
    """Let a key only verify if an earlier one signs what it could sign."""
    kept: list[KeyEntry] = []
    for entry in entries:
        is_later = any(one.state is KeyState.ACTIVE and one.reach.overlaps(entry.reach) for one in kept)
        demoted = is_later and entry.state is KeyState.ACTIVE
        kept.append(replace(entry, state=KeyState.VERIFY) if demoted else entry)
    return kept


# --- the key file ---


def read_key_file(path: Path) -> list[StoredKey]:
    """Read all keys; refuses a file that others than its owner can open, or that someone else owns."""
    try:
        document = tomllib.loads(_read_private(path))
    except tomllib.TOMLDecodeError:
        raise KeyRingError(f"the key file {path} is no valid TOML") from None
    tables = document.pop("key", [])
    if document or not isinstance(tables, list) or not tables:
        raise KeyRingError(f"the key file {path} must hold [[key]] tables and nothing else")
    return [key_of_table(table, partial(_read_beside, path), path) for table in tables]


def read_private_file(path: Path) -> str:
    """The text of a secret that is a file of its own; it must be closed to others like a key file."""
    return _read_private(path).strip()


def add_key(path: Path, entry: KeyEntry) -> None:
    """Add a key; the first one makes the file."""
    if not path.exists():
        ring_of([entry])
        _write_new(path, _file_text([StoredKey(entry)]))
        return
    write_key_file(path, [*read_key_file(path), StoredKey(entry)])


def set_key_state(path: Path, name: str, state: KeyState) -> None:
    """Change what a key may do; the keys that it replaces as active ones go on verifying."""
    stored = read_key_file(path)
    changed = next((key.entry for key in stored if key.entry.name == name), None)
    if changed is None:
        raise KeyRingError(f"the key file {path} has no key of that name")
    write_key_file(path, [_with_state(key, changed, state) for key in stored])


def write_key_file(path: Path, stored: Sequence[StoredKey]) -> None:
    """Replace the file in one step, readable by its owner only; a ring that could not sign is refused."""
    ring_of(key.entry for key in stored)
    temporary = _write_temporary(path, _file_text(stored))
    temporary.replace(path)


def _with_state(key: StoredKey, changed: KeyEntry, state: KeyState) -> StoredKey:
    if key.entry is changed:
        return replace(key, entry=replace(changed, state=state))
    is_replaced = state is KeyState.ACTIVE and changed.reach.overlaps(key.entry.reach)
    if is_replaced and key.entry.state is KeyState.ACTIVE:
        return replace(key, entry=replace(key.entry, state=KeyState.VERIFY))
    return key


def _read_beside(path: Path, name: str) -> str:
    return _read_private(path.parent / name)


def _read_private(path: Path) -> str:
    """Read a file that nobody but its owner can open; owner means this user or root."""
    try:
        with path.open("rb") as file:
            _check_privacy(os.fstat(file.fileno()), path)
            return file.read(_MAX_FILE_BYTES).decode()
    except OSError as error:
        raise KeyRingError(f"the key file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise KeyRingError(f"the key file {path} is no UTF-8 text") from None


def _check_privacy(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyRingError(f"the key file {path} is not a regular file")
    if os.name == "nt":
        return  # access there is a matter of lists, which the mode does not show
    if status.st_mode & _OTHERS:
        raise KeyRingError(f"the key file {path} is open to group or world; run: chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise KeyRingError(f"the key file {path} belongs to another user; only this user's or root's is trusted")


def _file_text(stored: Sequence[StoredKey]) -> str:
    return _HEADER + "".join(table_text(key) for key in stored)


def _write_new(path: Path, text: str) -> None:
    """Make the file in one step; raises ``FileExistsError`` if it is there already."""
    temporary = _write_temporary(path, text)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()


def _write_temporary(path: Path, text: str) -> Path:
    # mkstemp makes the file with mode 0600, so the secret is never readable by others, not even for a moment.
    descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)
