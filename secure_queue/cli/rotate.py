"""``secure-queue keys rotate``: a change of keys in the three steps that it is, each safe to run again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from secure_queue.audit.report import KeyUse
from secure_queue.cli.output import fail, hint
from secure_queue.cli.target import ask
from secure_queue.clock import now_ms
from secure_queue.errors import KeyRingError
from secure_queue.payload.key_files import add_key, read_key_file, set_key_state
from secure_queue.payload.keys import KeyEntry, KeyState, next_key
from secure_queue.presence import INTERVAL_S
from secure_queue.rotation import must_distribute, must_promote, must_retire, not_ready, still_needed
from secure_queue.settings import DEFAULT_LIFETIME_S, KEYS_FILE_VARIABLE, default_keys_file
from secure_queue.worker import Worker

MOST_NAMED = 5

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
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="The key, as `keys list` calls it.")]
Check = Annotated[
    list[str] | None,
    typer.Option(
        "--check", metavar="TARGET", help="Do it only if it is safe for this worker's queue; may be repeated."
    ),
]

rotate = typer.Typer(
    help="Change keys without downtime: distribute, promote, retire.", no_args_is_help=True, rich_markup_mode=None
)


@rotate.command()
def distribute(name: Name = None, file: File = None) -> None:
    """Step 1: make a key like the active one that verifies, for every process to know before anything is signed with it."""
    path = file or default_keys_file()
    if not path.exists():
        raise KeyRingError(f"there is no key file {path}; make one with `secure-queue keys generate --file {path}`")
    name = name or today()
    if must_distribute(states_of(path).get(name), name):
        entry = next_key(_active(path), name)
        add_key(path, entry)
        hint(f"added {named(entry)} to {path} as a key that verifies")
    else:
        hint(f"{name} is in {path} already, {states_of(path)[name].value}; nothing was changed")
    hint(
        "next: 1. copy the file to every producer and worker; they read it within 5 seconds, or at a SIGHUP\n"
        "      2. `secure-queue keys status TARGET` until every process has it\n"
        f"      3. `secure-queue keys rotate promote {name}`"
    )


@rotate.command()
def promote(name: KeyName, file: File = None, check: Check = None) -> None:
    """Step 2: sign with the key from now on; the one that signed goes on verifying."""
    path = file or default_keys_file()
    states = states_of(path)
    old = "OLD"
    if must_promote(state_in(states, name, path), name):
        for target in check or ():
            _check_everybody_knows(target, name, path)
        set_key_state(path, name, KeyState.ACTIVE)
        old = ", ".join(
            other for other, state in states_of(path).items() if state is not states[other] and other != name
        )
        hint(f"{name} signs now, {old or 'no other'} goes on verifying")
    else:
        hint(f"{name} signs already; nothing was changed")
    hint(
        "next: 1. copy the file to every producer and worker; they read it within 5 seconds, or at a SIGHUP\n"
        "      2. `secure-queue keys status TARGET` until every process has it\n"
        f"      3. `secure-queue audit TARGET` until {old} is retirable; --reseal shortens the wait\n"
        f"      4. `secure-queue keys rotate retire {old}`"
    )


@rotate.command()
def retire(
    name: KeyName,
    file: File = None,
    check: Check = None,
    pause: Annotated[float, typer.Option(min=0, help="Seconds between the two audits of --check.")] = 2 * INTERVAL_S,
) -> None:
    """Step 3: accept the old key no more; with --check only if nothing that is stored needs it."""
    path = file or default_keys_file()
    if must_retire(state_in(states_of(path), name, path), name):
        for target in check or ():
            _check_nothing_needs(target, name, pause)
        set_key_state(path, name, KeyState.REVOKED)
        hint(f"{name} is revoked: what it signed is put aside as revoked-key from now on")
    else:
        hint(f"{name} is revoked already; nothing was changed")
    hint(
        "next: 1. copy the file to every producer and worker; they read it within 5 seconds, or at a SIGHUP\n"
        f"      2. take the entry out of {path} {when_to_delete()}"
    )


def _check_everybody_knows(target: str, name: str, path: Path) -> None:
    key_id = next(key.entry.key_id.hex() for key in read_key_file(path) if key.entry.name == name)
    late = not_ready(ask(target, lambda worker: worker.processes()), key_id)
    if late:
        more = f" and {len(late) - MOST_NAMED} more" if len(late) > MOST_NAMED else ""
        fail(f"{target}: {', '.join(late[:MOST_NAMED])}{more} do not know {name} yet; nothing was changed", 1)


def _check_nothing_needs(target: str, name: str, pause: float) -> None:
    async def audits(worker: Worker[Any]) -> list[KeyUse | None]:
        first = await worker.audit()
        await anyio.sleep(pause)
        return [report.keys.get(name) for report in (first, await worker.audit())]

    why_not = still_needed(ask(target, audits))
    if why_not:
        fail(f"{target}: {name} is not retirable: {why_not.removeprefix('no: ')}; nothing was changed", 1)


def _active(path: Path) -> KeyEntry:
    return next(key.entry for key in read_key_file(path) if key.entry.state is KeyState.ACTIVE)


def states_of(path: Path) -> dict[str, KeyState]:
    """What each key of the file may do."""
    return {stored.entry.name: stored.entry.state for stored in read_key_file(path)}


def state_in(states: dict[str, KeyState], name: str, path: Path) -> KeyState:
    """The state of one key; raises ``KeyRingError`` if there is none of that name."""
    if name not in states:
        raise KeyRingError(f"{path} has no key of that name; see `secure-queue keys list`")
    return states[name]


def when_to_delete() -> str:
    """When nothing that a key has signed until now can be genuine any more."""
    last = datetime.fromtimestamp(now_ms() / 1000 + DEFAULT_LIFETIME_S, UTC)
    return f"after {last:%Y-%m-%d %H:%M} UTC, or later if a task may wait or live for longer than 7 days"


def named(entry: KeyEntry) -> str:
    """A key as people are told of it."""
    return f"{entry.name} ({entry.key_id.hex()})"


def today() -> str:
    """What a key is called unless it is told."""
    return f"{datetime.fromtimestamp(now_ms() / 1000, UTC):%Y-%m-%d}"
