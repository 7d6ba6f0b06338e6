"""``secure-queue keys``: makes signing keys, and keeps the key file through a rotation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from secure_queue.cli.output import hint, say, say_json, show, table
from secure_queue.clock import now_ms
from secure_queue.errors import KeyRingError
from secure_queue.payload.grants import Grants
from secure_queue.payload.key_files import add_key, entries_of_text, read_key_file, set_key_state
from secure_queue.payload.keys import KeyEntry, KeyKind, KeyState, format_key, generate_key, next_key, parse_purpose
from secure_queue.settings import KEYS_FILE_VARIABLE, KEYS_VARIABLE, default_keys_file, environment

Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="What to call the key in audits. [default: the date of today]")
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="PATH",
        help=f"The key file. [default: {KEYS_FILE_VARIABLE}, or secure-queue-keys.toml in the current folder]",
    ),
]


class Kind(StrEnum):
    """The kinds of keys that can be made."""

    HMAC = "hmac"
    ED25519 = "ed25519"


_KINDS = {Kind.HMAC: KeyKind.ROOT, Kind.ED25519: KeyKind.SEED}

keys = typer.Typer(help="Signing keys: generate, list, add, retire.", no_args_is_help=True, rich_markup_mode=None)


@keys.command()
def generate(
    name: Name = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="PATH", help="Write it into this new key file (mode 0600), and print nothing."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print the key alone, without the shell's export.")] = False,
    kind: Annotated[
        Kind, typer.Option("--kind", help="hmac: signs and encrypts; ed25519: signs, and others only verify.")
    ] = Kind.HMAC,
    purposes: Annotated[
        list[str] | None,
        typer.Option("--purpose", metavar="WORD", help="What an Ed25519 key in a file is for. [default: task]"),
    ] = None,
) -> None:
    """Make a signing key of 32 random bytes; whoever has it can sign tasks."""
    entry = _generate(name or _today(), kind, file, purposes)
    if file is None:
        say(format_key(entry) if raw else f"export {KEYS_VARIABLE}={format_key(entry)}")
        hint("give it to every producer and worker, and to nobody else: whoever has it can sign tasks")
        return
    if raw:
        raise KeyRingError("--raw prints the key and --file writes it; give one of them")
    if file.exists():
        raise KeyRingError(f"{file} exists; to rotate, use `secure-queue keys add --file {file}`")
    add_key(file, entry)
    hint(f"wrote {file} (mode 0600) with the active key {_named(entry)}\nnext: export {KEYS_FILE_VARIABLE}={file}")


@keys.command("list")
def list_(
    file: File = None, json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """List the keys that are configured, without their secrets."""
    source, entries = configured(file)
    columns = ("name", "id", "state", "kind")
    rows = [(entry.name, entry.key_id.hex(), entry.state.value, entry.kind.value) for entry in entries]
    if json:
        say_json({"source": source, "keys": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    made = table(f"keys of {source}", *columns)
    for row in rows:
        made.add_row(*row)
    show(made)


@keys.command()
def add(name: Name = None, file: File = None) -> None:
    """Make a key like the active one and add it as one that verifies: the first step of a rotation."""
    path = file or default_keys_file()
    if not path.exists():
        raise KeyRingError(f"there is no key file {path}; make one with `secure-queue keys generate --file {path}`")
    entry = next_key(_active(path), name or _today())
    add_key(path, entry)
    hint(
        f"added {_named(entry)} to {path} as a key that verifies\n"
        f"next: 1. copy the file to every producer and worker, and start them anew\n"
        f"      2. `secure-queue keys retire {_active(path).name}`: {entry.name} signs from then on, copy the file again\n"
        f"      3. when `secure-queue audit` counts no payload of the old key, retire that one once more"
    )


@keys.command()
def retire(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key, as `keys list` calls it.")],
    file: File = None,
    promote: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which key signs instead, if more than one verifies.")
    ] = None,
) -> None:
    """Take one step with a key on its way out: active, then verify, then revoked."""
    path = file or default_keys_file()
    states = {stored.entry.name: stored.entry.state for stored in read_key_file(path)}
    match states.get(name):
        case None:
            raise KeyRingError(f"{path} has no key of that name; see `secure-queue keys list`")
        case KeyState.ACTIVE:
            _replace_active(path, name, _successor(promote, states, path))
        case KeyState.VERIFY if promote is not None:
            raise KeyRingError(f"{name} does not sign, so nothing takes its place; leave out --promote")
        case KeyState.VERIFY:
            _revoke(path, name)
        case KeyState.REVOKED:
            raise KeyRingError(f"{name} is revoked already; take its entry out of {path} when no audit names it")


def _generate(name: str, kind: Kind, file: Path | None, purposes: list[str] | None) -> KeyEntry:
    if kind is Kind.HMAC or file is None:
        if purposes:
            raise KeyRingError("--purpose goes with --kind ed25519 and --file: only there can a key say what it is for")
        return generate_key(name, kind=_KINDS[kind])
    words = frozenset(parse_purpose(word) for word in purposes or ["task"])
    return replace(generate_key(name, kind=KeyKind.SEED), grants=Grants(words))


def _replace_active(path: Path, name: str, successor: str) -> None:
    set_key_state(path, successor, KeyState.ACTIVE)
    hint(
        f"{successor} signs now, {name} goes on verifying\n"
        f"next: 1. copy the file to every producer and worker, and start them anew\n"
        f"      2. when `secure-queue audit` counts no payload of {name}, `secure-queue keys retire {name}` again"
    )


def _revoke(path: Path, name: str) -> None:
    set_key_state(path, name, KeyState.REVOKED)
    hint(
        f"{name} is revoked: what it signed is put aside as revoked-key from now on\n"
        f"next: 1. copy the file to every producer and worker, and start them anew\n"
        f"      2. take the entry out of {path} when no audit names it any more"
    )


def _successor(promote: str | None, states: dict[str, KeyState], path: Path) -> str:
    """The key that signs from now on: the only one that verifies, or *promote*, which must verify too."""
    if promote is None:
        return _only_successor(states, path)
    match states.get(promote):
        case KeyState.VERIFY:
            return promote
        case KeyState.ACTIVE:
            raise KeyRingError("a key cannot follow itself; name another one with --promote")
        case KeyState.REVOKED:
            raise KeyRingError(f"{promote} is revoked, and may have leaked; `secure-queue keys add` a new one")
        case None:
            raise KeyRingError(f"{path} has no key named {promote!r}; see `secure-queue keys list`")


def _only_successor(states: dict[str, KeyState], path: Path) -> str:
    waiting = [name for name, state in states.items() if state is KeyState.VERIFY]
    if not waiting:
        raise KeyRingError(f"no other key could sign; first `secure-queue keys add --file {path}`")
    if len(waiting) > 1:
        raise KeyRingError(f"more than one key could sign instead; name it: --promote {' | '.join(waiting)}")
    return waiting[0]


def configured(file: Path | None) -> tuple[str, list[KeyEntry]]:
    """The keys and where they come from, by the rule of ``Worker``: the variable goes before the file."""
    found = environment().keys
    if file is None and found is not None:
        return KEYS_VARIABLE, entries_of_text(found)
    path = file or default_keys_file()
    return str(path), [stored.entry for stored in read_key_file(path)]


def _active(path: Path) -> KeyEntry:
    return next(stored.entry for stored in read_key_file(path) if stored.entry.state is KeyState.ACTIVE)


def _named(entry: KeyEntry) -> str:
    return f"{entry.name} ({entry.key_id.hex()})"


def _today() -> str:
    return f"{datetime.fromtimestamp(now_ms() / 1000, UTC):%Y-%m-%d}"
