"""The exit code, the plain data and the table of a report."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from secure_queue.doctor.facts import Kind
from secure_queue.doctor.findings import Finding, Level
from secure_queue.doctor.report import DoctorReport
from secure_queue.doctor.tables import show_report
from tests.doctor.deployments import WELL, silent

FACTS = WELL[Kind.CLUSTER]
FINE = Finding("eviction", Level.OK, "", "nothing is evicted")
DENIED = Finding("clients", Level.UNKNOWN, "10.0.0.1:6379", "denied", "ask")
RISKY = [
    Finding("memory", Level.WARN, f"10.0.0.{number}:6379", "no limit", "CONFIG SET maxmemory") for number in (1, 2)
]
BAD = Finding("persistence", Level.FAIL, "10.0.0.3:6379", "[red]no file[/red]", "CONFIG SET appendonly yes")


@pytest.mark.parametrize(
    ("findings", "code", "strict_code"),
    [([FINE], 0, 0), ([FINE, DENIED], 0, 0), ([DENIED, *RISKY], 0, 1), ([*RISKY, BAD], 1, 1)],
)
def test_failures_make_the_exit_code_and_warnings_only_when_asked(
    findings: list[Finding], code: int, strict_code: int
) -> None:
    report = DoctorReport.of(FACTS, findings)
    assert (report.exit_code(), report.exit_code(strict=True)) == (code, strict_code)


def test_if_nobody_answers_nothing_was_checked() -> None:
    report = DoctorReport.of(silent(*range(6))(FACTS), [BAD])
    assert (report.answered, report.exit_code()) == (0, 2)


def test_the_worst_comes_first_and_the_keys_are_the_same_whatever_was_found() -> None:
    plain = json.loads(DoctorReport.of(FACTS, [FINE, DENIED, *RISKY, BAD]).to_json(strict=True))
    assert [finding["level"] for finding in plain["findings"]] == ["fail", "warn", "warn", "unknown", "ok"]
    assert plain["levels"] == {"ok": 1, "unknown": 1, "warn": 2, "fail": 1}
    assert plain.keys() == DoctorReport.of(FACTS, []).to_plain().keys()
    assert plain["findings"][0].keys() == {"check", "level", "where", "reason", "fix"}


def test_what_is_the_same_on_several_nodes_is_shown_once_and_nothing_is_markup() -> None:
    shown = render(DoctorReport.of(FACTS, [FINE, *RISKY, BAD]))
    assert shown.count("no limit") == 1
    assert "10.0.0.1:6379" in shown and "10.0.0.2:6379" in shown
    assert "[red]no file[/red]" in shown
    assert "ok  eviction: nothing is evicted" in shown
    assert "6 of 6 nodes answer; 1 fail, 2 warn, 0 unknown, 1 ok" in shown


def render(report: DoctorReport) -> str:
    console = Console(width=140, file=io.StringIO())
    with console.capture() as capture:
        console.print(show_report(report))
    return capture.get()
