"""Shows the doctor's report to people: what is wrong with reason and cure, then what is well, then a verdict."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secure_queue.doctor.findings import Finding, Level
from secure_queue.doctor.report import DoctorReport

_STYLES = {Level.FAIL: "bold red", Level.WARN: "yellow", Level.UNKNOWN: "cyan", Level.OK: "green"}


def show_report(report: DoctorReport) -> RenderableType:
    """The whole report, to be printed by a rich console."""
    bad = [finding for finding in report.findings if finding.level is not Level.OK]
    well = [finding for finding in report.findings if finding.level is Level.OK]
    return Group(*([_findings(bad)] if bad else []), *map(_line, well), _verdict(report))


def _findings(findings: list[Finding]) -> Table:
    """What is the same on several nodes is said once."""
    table = Table(title="Findings", title_justify="left", title_style="bold", show_lines=True)
    for column in ("level", "check", "where", "reason", "what repairs it"):
        table.add_column(column, overflow="fold")
    alike: dict[Finding, list[str]] = {}
    for finding in findings:
        alike.setdefault(replace(finding, where=""), []).append(finding.where)
    for finding, places in alike.items():
        words = (finding.check, "\n".join(places), finding.reason, finding.fix)
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), *(Text(word) for word in words))
    return table


def _line(finding: Finding) -> Text:
    return Text.assemble(("ok", _STYLES[Level.OK]), f"  {finding.check}: {finding.reason}")


def _verdict(report: DoctorReport) -> Text:
    told = ", ".join(f"{report.levels[level]} {level}" for level in (Level.FAIL, Level.WARN, Level.UNKNOWN, Level.OK))
    style = "bold red" if report.exit_code() else "bold green"
    return Text(
        f"queue {report.queue} on {report.deployment}: {report.answered} of {len(report.nodes)} nodes answer; {told}",
        style=style,
    )
