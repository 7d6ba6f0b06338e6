"""``secure-queue audit quarantine``: what was put aside, to be looked at, released or destroyed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from secure_queue.audit.quarantine import Kept
from secure_queue.cli.output import fail, hint, say, say_json, show, table
from secure_queue.cli.target import Target, ask
from secure_queue.errors import ConfigurationError, DuplicateTask, PayloadError, Rejected, TaskNotFound
from secure_queue.names import printable
from secure_queue.worker import Worker

BYTES_A_LINE = 16
_NOT_GENUINE = "it is not genuine here"
_WHY_NOT = {
    "known": "a task of that id is stored or has finished",
    "revoked-key": "its key is revoked; vouch for its bytes with --attest, if you know them",
    "unknown-key": "its key is not configured; add it as one that verifies",
    "wrong-digest": "its bytes have another SHA-256 than the one you vouch for",
    "not-revoked": "--attest is for payloads of a revoked key only",
}

Entry = Annotated[str | None, typer.Argument(metavar="[ENTRY]", help="The entry, as `list` calls it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

quarantine = typer.Typer(
    help="Payloads that were put aside: list, show, release, destroy.", no_args_is_help=True, rich_markup_mode=None
)


@quarantine.command("list")
def list_(target: Target, json: Json = False) -> None:
    """List what was put aside, oldest first, and what each entry is now."""
    entries = ask(target, _all)
    if json:
        say_json({"quarantine": [_plain(kept) for kept in entries]})
        return
    made = table("quarantine", "entry", "put aside", "id", "code now", "detail", "key", "size")
    for kept in entries:
        found = kept.finding
        key = found.key_name or found.key_id[:8]
        made.add_row(kept.entry, _moment(kept.at_ms), found.id, found.code, found.detail, key, str(found.size))
    show(made)


@quarantine.command("show")
def show_(
    target: Target,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="The entry, as `list` calls it.")],
    hex_: Annotated[bool, typer.Option("--hex", help="Show its bytes too, which may hold secrets.")] = False,
    json: Json = False,
) -> None:
    """Show one entry; its bytes only when they are asked for, and never as text."""
    kept, untrusted = ask(target, lambda worker: worker.quarantined_bytes(entry))
    if json:
        say_json(_plain(kept) | ({"hex": untrusted.hex()} if hex_ else {}))
        return
    for name, value in _plain(kept).items():
        say(f"{name:<11}{value}")
    if hex_:
        for start in range(0, len(untrusted), BYTES_A_LINE):
            say(f"{start:08x}  {untrusted[start : start + BYTES_A_LINE].hex(' ')}")


@quarantine.command()
def release(
    target: Target,
    entry: Entry = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that is genuine now.")] = False,
    attest: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256", help="For a revoked key: the digest of the bytes, from a source outside the queue."
        ),
    ] = None,
) -> None:
    """Put tasks that are genuine after all back into the queue under a fresh seal."""
    _one_or_all(entry, all_)
    if attest is not None and entry is None:
        raise ConfigurationError("--attest vouches for one ENTRY")
    if entry is not None:
        try:
            hint(f"released: {ask(target, lambda worker: worker.release(entry, attest=attest))}")
        except Rejected as error:
            fail(f"{printable(entry)} stays where it is: {_WHY_NOT.get(error.reason, _NOT_GENUINE)} ({error})", 1)
        return
    released, left = ask(target, _release_all)
    hint(f"released: {released}, left in quarantine: {left}")
    if left:
        why = "do not open, or another task of their unique key counts"
        fail(f"{left} entries {why}; see `secure-queue audit quarantine list`", 1)


@quarantine.command()
def destroy(
    target: Target,
    entry: Entry = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them, instead of one ENTRY.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete what was put aside for ever; it is evidence, so think of a copy first."""
    _one_or_all(entry, all_)
    entries = [entry] if entry is not None else [kept.entry for kept in ask(target, _all)]
    if entries and not yes:
        typer.confirm(f"destroy {len(entries)} entries?", abort=True, err=True)
    hint(f"destroyed: {ask(target, lambda worker: _destroy(worker, entries, must=entry is not None))}")


async def _all(worker: Worker[Any]) -> list[Kept]:
    return [kept async for kept in worker.quarantined()]


async def _release_all(worker: Worker[Any]) -> tuple[int, int]:
    released = left = 0
    for kept in await _all(worker):
        try:
            await worker.release(kept.entry)
        except (PayloadError, DuplicateTask):
            left += 1
        except TaskNotFound:
            continue
        else:
            released += 1
    return released, left


async def _destroy(worker: Worker[Any], entries: list[str], *, must: bool) -> int:
    count = 0
    for entry in entries:
        try:
            await worker.destroy(entry)
        except TaskNotFound:
            if must:
                raise
        else:
            count += 1
    return count


def _one_or_all(entry: str | None, all_: bool) -> None:
    if (entry is None) is not all_:
        raise ConfigurationError("name one ENTRY, or all of them with --all")


def _plain(kept: Kept) -> dict[str, Any]:
    return {"entry": kept.entry, "put_aside": _moment(kept.at_ms), **kept.finding.to_plain()}


def _moment(untrusted_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(untrusted_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # somebody else made that entry
        return "?"
