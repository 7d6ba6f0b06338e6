"""``secure-queue keys``: makes signing keys, lists them, revokes one, and shows who holds which."""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from secure_queue.cli.output import fail, hint, say, say_json, show, table
from secure_queue.cli.rotate import (
    File,
    Name,
    distribute,
    named,
    retire,
    rotate,
    state_in,
    states_of,
    today,
    when_to_delete,
)
from secure_queue.cli.target import Target, ask
from secure_queue.errors import KeyRingError
from secure_queue.payload.grants import Grants
from secure_queue.payload.key_files import add_key, entries_of_text, read_key_file, set_key_state
from secure_queue.payload.keys import Key, KeyEntry, KeyKind, KeyRing, KeyState, format_key, generate_key, parse_purpose
from secure_queue.presence import Process
from secure_queue.rotation import agrees
from secure_queue.settings import KEYS_FILE_VARIABLE, KEYS_VARIABLE, default_keys_file, environment
from secure_queue.worker import Worker


class Kind(StrEnum):
    """The kinds of keys that can be made."""

    HMAC = "hmac"
    ED25519 = "ed25519"


_KINDS = {Kind.HMAC: KeyKind.ROOT, Kind.ED25519: KeyKind.SEED}

keys = typer.Typer(
    help="Signing keys: generate, list, add, rotate, retire, revoke, status; parts of keys for others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
keys.add_typer(rotate, name="rotate")
keys.command("add", short_help="Add a key that verifies: the same as `keys rotate distribute`.")(distribute)
keys.command("retire", short_help="Accept a key no more: the same as `keys rotate retire`.")(retire)


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
    entry = _generate(name or today(), kind, file, purposes)
    if file is None:
        say(format_key(entry) if raw else f"export {KEYS_VARIABLE}={format_key(entry)}")
        hint("give it to every producer and worker, and to nobody else: whoever has it can sign tasks")
        return
    if raw:
        raise KeyRingError("--raw prints the key and --file writes it; give one of them")
    if file.exists():
        raise KeyRingError(f"{file} exists; to rotate, begin with `secure-queue keys rotate distribute --file {file}`")
    add_key(file, entry)
    hint(f"wrote {file} (mode 0600) with the active key {named(entry)}\nnext: export {KEYS_FILE_VARIABLE}={file}")


def _generate(name: str, kind: Kind, file: Path | None, purposes: list[str] | None) -> KeyEntry:
    if kind is Kind.HMAC or file is None:
        if purposes:
            raise KeyRingError("--purpose goes with --kind ed25519 and --file: only there can a key say what it is for")
        return generate_key(name, kind=_KINDS[kind])
    words = frozenset(parse_purpose(word) for word in purposes or ["task"])
    return replace(generate_key(name, kind=KeyKind.SEED), grants=Grants(words))


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
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key, as `keys list` calls it.")],
    file: File = None,
    promote: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which key signs instead, if the key is the one that signs.")
    ] = None,
) -> None:
    """Revoke a key at once, because it has leaked: what it signed is put aside from then on."""
    path = file or default_keys_file()
    states = states_of(path)
    match state_in(states, name, path):
        case KeyState.ACTIVE:
            set_key_state(path, _successor(promote, {**states, name: KeyState.ACTIVE}, path), KeyState.ACTIVE)
        case _ if promote is not None:
            raise KeyRingError(f"{name} does not sign, so nothing takes its place; leave out --promote")
        case _:
            pass
    set_key_state(path, name, KeyState.REVOKED)
    hint(
        f"{name} is revoked: what it signed is put aside as revoked-key, and kept\n"
        f"next: 1. copy the file to every producer and worker; they read it within 5 seconds, or at a SIGHUP\n"
        f"      2. `secure-queue audit quarantine list`, and release what is known to be genuine with --attest\n"
        f"      3. take the entry out of {path} {when_to_delete()}"
    )


@keys.command()
def status(
    target: Target, json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show which keys the living producers and workers of TARGET's queue hold.

    Exit code 0: all hold what TARGET holds here. 1: some do not yet.
    """

    async def look(worker: Worker[Any]) -> tuple[KeyRing, list[Process]]:
        return worker.key_ring, await worker.processes()

    ring, processes = ask(target, look)
    late = [process for process in processes if not agrees(process, ring)]
    if json:
        say_json({"keys": [_plain_key(key) for key in ring.keys], "processes": [asdict(each) for each in processes]})
    else:
        made = table(
            "processes that live", "process", "role", *(f"{key.name} ({key.state.value})" for key in ring.keys)
        )
        for process in processes:
            made.add_row(process.name, process.problem or process.role, *_cells(process, ring))
        show(made)
    if late:
        fail(f"{len(late)} of {len(processes)} processes do not hold these keys yet; see the table", 1)


def _cells(process: Process, ring: KeyRing) -> list[str]:
    return [process.state_of(key.key_id.hex()) or "-" for key in ring.keys]


def _plain_key(key: Key) -> dict[str, str]:
    return {"name": key.name, "id": key.key_id.hex(), "state": key.state.value}


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
            raise KeyRingError(
                f"{promote} is revoked, and may have leaked; `secure-queue keys rotate distribute` makes a new one"
            )
        case None:
            raise KeyRingError(f"{path} has no key named {promote!r}; see `secure-queue keys list`")


def _only_successor(states: dict[str, KeyState], path: Path) -> str:
    waiting = [name for name, state in states.items() if state is KeyState.VERIFY]
    if not waiting:
        raise KeyRingError(f"no other key could sign; first `secure-queue keys rotate distribute --file {path}`")
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
