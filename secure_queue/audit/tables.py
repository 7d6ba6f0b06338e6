"""Shows an audit report to people: a verdict, the counts, and a table of what is not in order.

Every stored name in a report is escaped already; here it goes through ``Text``, so that none is read as markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secure_queue.audit.findings import Finding, Severity
from secure_queue.audit.report import AuditReport

MOST_SHOWN = 50
_STYLES = {Severity.NOTICE: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}


def show_report(report: AuditReport) -> RenderableType:
    """The whole report, to be printed by a rich console."""
    parts: list[RenderableType] = [_counts(report), _keys(report)]
    if report.findings:
        parts.append(_findings(report))
    return Group(*parts, _verdict(report))


def show_findings(findings: Sequence[Finding]) -> RenderableType:
    """What is stored of one task: a table with one column for each place."""
    plain = [finding.to_plain() for finding in findings]
    table = _table("What is stored", "", *(finding.kind for finding in findings))
    for name in plain[0]:
        if name != "kind":
            table.add_row(Text(name), *(Text(_told(name, facts[name]), overflow="fold") for facts in plain))
    return table


def _told(name: str, fact: str | int | None) -> str:
    return _moment(fact) if name.endswith("_ms") and isinstance(fact, int) else "" if fact is None else str(fact)


def _verdict(report: AuditReport) -> Text:
    if report.exit_code == 0:
        return Text(f"queue {report.queue}: {report.payloads} payloads checked, clean", style="bold green")
    bad = report.severities[Severity.WARNING] + report.severities[Severity.CRITICAL]
    return Text(f"queue {report.queue}: {report.payloads} payloads checked, {bad} findings", style="bold red")


def _counts(report: AuditReport) -> Table:
    table = _table("What is stored", "", "")
    groups: tuple[tuple[str, Mapping[str, int]], ...] = (
        ("codes", report.codes),
        ("kinds", report.kinds),
        ("serializers", report.serializers),
        ("functions", report.functions),
        ("ages", report.ages),
        ("sizes", report.sizes),
    )
    for name, counts in groups:
        told = ", ".join(f"{what} {count}" for what, count in counts.items() if count)
        table.add_row(Text(name), Text(told or "none"))
    return table


def _keys(report: AuditReport) -> Table:
    table = _table("Signed with", "key", "id", "state", "payloads", "last expiry", "retirable", "its last copy ends")
    for name, use in report.keys.items():
        words = (name, use.id, use.state, str(use.payloads), _moment(use.last_expires_ms), use.retirable)
        table.add_row(*map(Text, words), Text(_moment(use.gone_by_ms)))
    if report.unknown_keys:
        table.add_row(*map(Text, ("(unknown)", "", "", str(report.unknown_keys), "", "", "")))
    return table


def _findings(report: AuditReport) -> Table:
    left_out = len(report.findings) - MOST_SHOWN + report.not_listed
    title = f"Findings (the worst {MOST_SHOWN}; {left_out} more)" if left_out > 0 else "Findings"
    table = _table(title, "severity", "code", "kind", "id", "detail", "key", "size", "SHA-256")
    for finding in report.findings[:MOST_SHOWN]:
        table.add_row(*_row(finding))
    return table


def _row(finding: Finding) -> tuple[Text, ...]:
    severity = Text(finding.severity, style=_STYLES.get(finding.severity, ""))
    key = finding.key_name or finding.key_id[:8]
    words = (finding.code, finding.kind, finding.id, finding.detail, key, str(finding.size), finding.sha256[:12])
    return severity, *(Text(word, overflow="fold") for word in words)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _moment(ms: int | None) -> str:
    if ms is None:
        return ""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # no calendar goes so far
        return "never"
