"""``secure-queue audit``: classifies everything that a queue holds without deserializing any of it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from secure_queue.audit.findings import Finding
from secure_queue.audit.report import AuditReport
from secure_queue.audit.tables import show_report
from secure_queue.cli.output import say, show
from secure_queue.cli.target import Target, ask
from secure_queue.worker import Worker


def audit(
    target: Target,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    rate: Annotated[
        float, typer.Option(min=0, help="Look at no more than this many places a second; 0 is as fast as it goes.")
    ] = 10_000,
) -> None:
    """Check every payload that the queue of TARGET holds.

    Changes nothing and deserializes nothing. Exit code 0: clean. 1: findings. 2: it could not be checked.
    """

    async def check(worker: Worker[Any]) -> AuditReport:
        with _bar() as bar:
            step = bar.add_task("checking", total=None)  # asking how much there is would repair what is to be found

            def advance(_: Finding) -> None:
                bar.advance(step)

            return await worker.audit(rate=rate, on_finding=advance)

    report = ask(target, check)
    if json:
        say(report.to_json())
    else:
        show(show_report(report))
    raise typer.Exit(report.exit_code)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
