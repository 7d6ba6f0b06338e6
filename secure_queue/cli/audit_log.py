"""``secure-queue audit log``: the chained record of security events, to be read, verified and kept elsewhere."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from secure_queue.audit.log_check import Event, LogReport
from secure_queue.cli.output import fail, hint, say, say_json, show, table
from secure_queue.cli.target import Target, ask
from secure_queue.errors import ConfigurationError
from secure_queue.names import printable
from secure_queue.payload.escrow import new_auditor
from secure_queue.payload.key_files import read_private_file
from secure_queue.settings import AUDIT_KEY_VARIABLE
from secure_queue.worker import Worker

MOST_SHOWN = 50

Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file", metavar="PATH", help="An exported log that comes before what the queue holds; may be repeated."
    ),
]
Auditor = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="A file (mode 0600) with the auditor's private key, to check forward security."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

log = typer.Typer(
    help="The audit log: show, verify, export; and a pair of keys for its auditor.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@log.command("show")
def show_(
    target: Target,
    file: Files = None,
    limit: Annotated[int, typer.Option(min=1, help="No more than this many, the newest.")] = MOST_SHOWN,
    json: Json = False,
) -> None:
    """Show the events whose records are genuine, the newest last."""
    report = ask(target, lambda worker: _checked(worker, file or (), None, ()))
    events = report.events[-limit:]
    if json:
        say_json({"events": [asdict(event) for event in events]})
        return
    made = table("audit log", "when", "event", "what", "chain", "record")
    for event in events:
        facts = {name: fact for name, fact in event.facts.items() if name not in ("ms", "event")}
        told = ", ".join(f"{printable(str(name))} {printable(str(fact))}" for name, fact in facts.items() if fact != "")
        made.add_row(_when(event), printable(str(event.facts.get("event"))), told, event.chain[:8], str(event.seq))
    show(made)


@log.command()
def verify(
    target: Target,
    file: Files = None,
    auditor_key: Auditor = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="CHAIN:COUNT:DIGEST", help="A checkpoint from the log of a process; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Verify that nothing in the audit log was altered, moved or taken out.

    Exit code 0: it is whole. 1: it is not; each problem is named. 2: it could not be verified.
    """
    auditor = None if auditor_key is None else read_private_file(auditor_key)
    report = ask(target, lambda worker: _checked(worker, file or (), auditor, checkpoint or ()))
    if json:
        plain = asdict(report)
        say_json({name: plain[name] for name in plain if name != "events"})
    else:
        _show_verdict(report)
    raise typer.Exit(1 if report.problems else 0)


@log.command()
def export(
    target: Target,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new file; one sealed record a line, in base64.")],
    clear: Annotated[bool, typer.Option("--clear", help="Then take what was written off the queue's log.")] = False,
) -> None:
    """Write the audit log into a file, which `verify --file` reads."""

    async def write(worker: Worker[Any]) -> tuple[int, int]:
        records = await worker.audit_log()
        with path.open("xb") as made:
            made.writelines(b64encode(record) + b"\n" for record in records)
        return len(records), await worker.forget_audit_log(records) if clear else 0

    try:
        written, cleared = ask(target, write)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}; name a new file", 2)
    hint(f"wrote {written} records to {path}" + (f", and took {cleared} off the queue" if clear else ""))


@log.command()
def keygen() -> None:
    """Make a pair of keys for an auditor: every process knows the public one, nobody else has the private one."""
    private, public = new_auditor()
    say(f"export {AUDIT_KEY_VARIABLE}={public}")
    say(private)
    hint("give the first line to every worker; keep the second one where no worker runs")


async def _checked(
    worker: Worker[Any], files: Sequence[Path], auditor: str | None, checkpoints: Sequence[str]
) -> LogReport:
    records = [record for file in files for record in _read(file)]
    return worker.check_log([*records, *await worker.audit_log()], auditor=auditor, checkpoints=checkpoints)


def _read(file: Path) -> list[bytes]:
    try:
        return [b64decode(line, validate=True) for line in file.read_bytes().split()]
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except Error:
        raise ConfigurationError(f"{file} is no exported audit log") from None


def _show_verdict(report: LogReport) -> None:
    if report.problems:
        made = table("problems", "place", "chain", "record", "reason")
        for problem in report.problems:
            made.add_row(
                str(problem.place), problem.chain, "" if problem.seq is None else str(problem.seq), problem.reason
            )
        show(made)
    counts = {
        "records": report.records,
        "chains": len(report.chains),
        "forward secure": report.forward_secure,
        "repeated": report.repeated,
        "of keys not accepted here": report.unverifiable,
        "problems": len(report.problems),
    }
    say(", ".join(f"{what} {count}" for what, count in counts.items()))


def _when(event: Event) -> str:
    ms = event.facts.get("ms")
    return (
        f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if type(ms) is int and 0 < ms < 1 << 45 else "?"
    )
