"""``secure-queue audit``: classifies everything that a queue holds without deserializing any of it."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from secure_queue.audit.findings import Finding
from secure_queue.audit.report import AuditReport
from secure_queue.audit.tables import show_findings, show_report
from secure_queue.cli.audit_log import log
from secure_queue.cli.output import hint, say, say_json, show
from secure_queue.cli.quarantine import quarantine
from secure_queue.cli.target import Target, ask
from secure_queue.clock import now_ms
from secure_queue.errors import ConfigurationError, TaskNotFound
from secure_queue.names import printable
from secure_queue.worker import Worker

_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class _CheckIsMeant(TyperGroup):
    """``audit TARGET`` without a verb is ``audit check TARGET``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, "--help"}
        return super().parse_args(ctx, args if not args or args[0] in known else ["check", *args])


audit = typer.Typer(
    cls=_CheckIsMeant,
    help="Check every payload of a queue; look into the quarantine and the audit log. `audit TARGET` is `audit check`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
audit.add_typer(quarantine, name="quarantine")
audit.add_typer(log, name="log")


@audit.command()
def check(
    target: Target,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    rate: Annotated[
        float, typer.Option(min=0, help="Look at no more than this many places a second; 0 is as fast as it goes.")
    ] = 10_000,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Pass over genuine payloads older than 90s, 15m, 2h, 3d or a date."),
    ] = None,
    reseal: Annotated[
        bool, typer.Option("--reseal", help="First put what old keys have signed under the active key.")
    ] = False,
) -> None:
    """Check every payload that the queue of TARGET holds.

    Deserializes nothing, and changes nothing unless --reseal is given. Exit code 0: clean. 1: findings. 2: it could not
    be checked.
    """
    since_ms = None if since is None else moment_ms(since, now_ms())

    async def look(worker: Worker[Any]) -> AuditReport:
        with _bar() as bar:
            if reseal:
                step = bar.add_task("resealing", total=None)
                counts = await worker.reseal(rate=rate, on_step=lambda count: bar.advance(step, count))
                hint(
                    "resealing: " + (", ".join(f"{what} {count}" for what, count in counts.items()) or "nothing there")
                )
            checking = bar.add_task("checking", total=None)  # asking how much there is would repair what is to be found

            def advance(_: Finding) -> None:
                bar.advance(checking)

            return await worker.audit(rate=rate, since_ms=since_ms, on_finding=advance)

    report = ask(target, look)
    if json:
        say(report.to_json())
    else:
        show(show_report(report))
    raise typer.Exit(report.exit_code)


@audit.command("show")
def show_(
    target: Target,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a task or a schedule.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what is stored of one task or schedule, in every place, without its payload."""
    findings = ask(target, lambda worker: worker.audit_task(task_id))
    if not findings:
        raise TaskNotFound(f"nothing is stored under {printable(task_id)}")
    if json:
        say_json({"findings": [finding.to_plain() for finding in findings]})
    else:
        show(show_findings(findings))


def moment_ms(text: str, now: int) -> int:
    """The moment that ``--since`` names: an age, or a date (UTC unless it says otherwise)."""
    age = _AGE.fullmatch(text)
    if age is not None:
        return now - int(age[1]) * _UNIT_MS[age[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{printable(text, 40)!r} is no moment; write 90s, 15m, 2h, 3d or 2026-12-01T08:00"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
