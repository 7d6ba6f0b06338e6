"""``secure-queue keys public`` and ``keys scope``: what of a key another side is given, so that it can do less."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secure_queue import names
from secure_queue.cli.keys import configured
from secure_queue.cli.output import hint, say
from secure_queue.cli.rotate import File
from secure_queue.errors import KeyRingError
from secure_queue.payload.ciphers import Suite
from secure_queue.payload.grants import Grants
from secure_queue.payload.key_tables import StoredKey, table_text
from secure_queue.payload.keys import KeyEntry, KeyKind, format_key, parse_purpose, public_key, scoped_key
from secure_queue.settings import KEYS_VARIABLE

Which = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="The key, as `keys list` calls it. [default: the only one that fits]"),
]


def public(
    name: Which = None,
    purposes: Annotated[
        list[str] | None, typer.Option("--purpose", metavar="WORD", help="What its holder may sign: task, result, …")
    ] = None,
    queues: Annotated[
        list[str] | None, typer.Option("--queue", metavar="PATTERN", help="In which queues; * stands for anything.")
    ] = None,
    functions: Annotated[
        list[str] | None, typer.Option("--function", metavar="PATTERN", help="For which functions.")
    ] = None,
    file: File = None,
) -> None:
    """Print the public half of an Ed25519 key, for the key file of those who verify.

    With --purpose (and --queue, --function) a table that grants so much and no more, else a line that grants anything.
    """
    pair = _find(name, file, KeyKind.SEED, "an Ed25519 pair; make one with --kind ed25519")
    if not purposes:
        if queues or functions:
            raise KeyRingError("grants begin with --purpose, for example --purpose task --queue emails")
        say(format_key(public_key(pair)))
        hint("it is no secret; whoever has it can verify what the key has signed, and can sign nothing")
        return
    grants = Grants(
        frozenset(parse_purpose(word) for word in purposes), tuple(queues or ("*",)), tuple(functions or ("*",))
    )
    say(table_text(StoredKey(public_key(pair, grants))).strip())
    hint("append it to the key file of those who verify; it is no secret, but whoever can change it can grant")


def scope(
    name: Which = None,
    queue: Annotated[str, typer.Option(metavar="NAME", help="The one queue in which the new key counts.")] = ...,  # type: ignore[assignment]  # typer's way to say: required
    purpose: Annotated[
        str | None, typer.Option(metavar="WORD", help="The one purpose: task, result, control, … [default: all]")
    ] = None,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="With --purpose: the key encrypts, instead of only signing.")
    ] = False,
    as_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call the new key. [default: as the root]")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Print the key alone, without the shell's export.")] = False,
    file: File = None,
) -> None:
    """Derive a key for one queue, or for one purpose in it, from a symmetric key; its holder cannot go back."""
    if encrypt and purpose is None:
        raise KeyRingError("--encrypt goes with --purpose; a key for a whole queue signs and encrypts")
    root = _find(name, file, KeyKind.ROOT, "a symmetric root key")
    suite = None if purpose is None else Suite.AES_256_GCM if encrypt else Suite.HMAC_SHA256
    made = scoped_key(
        root, as_name or root.name, names.queue_name(queue), suite, None if purpose is None else parse_purpose(purpose)
    )
    say(format_key(made) if raw else f"export {KEYS_VARIABLE}={format_key(made)}")
    hint(f"it is a secret: whoever has it can sign {purpose or 'anything'} in the queue {queue}, and nothing elsewhere")


def _find(name: str | None, file: Path | None, kind: KeyKind, what: str) -> KeyEntry:
    source, entries = configured(file)
    fitting = [entry for entry in entries if entry.kind is kind and name in (None, entry.name)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise KeyRingError(f"{source} has no such key that is {what}; see `secure-queue keys list`")
    raise KeyRingError(f"{source} has several; name one of: {', '.join(entry.name for entry in fitting)}")
