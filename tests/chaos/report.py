"""The outcome of many cases: a line while they run, a table for people, one JSON object for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.case import Outcome

WIDTH = 160


def line(outcome: Outcome) -> str:
    """One line of progress."""
    verdict, word = outcome.verdict, "BROKEN" if outcome.broken else "kept"
    numbers = f"acked {verdict.acked}, lost {verdict.lost}, duplicates {verdict.duplicates}, {verdict.recovery_s:.1f} s"
    problems = f" ({'; '.join(outcome.broken)}; logs: {outcome.folder})" if outcome.broken else ""
    return f"{word:<6} {outcome.case}: {numbers}{problems} [{outcome.seconds:.0f} s]"


def as_json(outcomes: Sequence[Outcome], not_run: Mapping[int, str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, for a script."""
    return {
        **facts,
        "kept": not any(outcome.broken for outcome in outcomes),
        "rows": [_row(outcome) for outcome in outcomes],
        "not_run": [{"row": row, "reason": reason} for row, reason in not_run.items()],
    }


def _row(outcome: Outcome) -> dict[str, Any]:
    case, verdict = outcome.case, outcome.verdict
    return {
        "row": case.row,
        "title": case.title,
        "fault": case.fault.name,
        "topology": case.topology,
        "durability": case.durability,
        "acked": verdict.acked,
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "worker_deaths": verdict.deaths,
        "recovery_s": round(verdict.recovery_s, 2),
        "refused": dict(verdict.refused),
        "degraded": verdict.degraded,
        "unconfirmed": verdict.unconfirmed,
        "ran_again": verdict.again,
        "ran_anew": verdict.anew,
        "stale_ends_refused": verdict.stale,
        "acknowledgement_gap_s": round(verdict.ack_gap_s, 2),
        "execution_gap_s": round(verdict.run_gap_s, 2),
        "fault_s": round(verdict.fault_s, 2),
        "longest_call_s": round(verdict.longest_call_s, 2),
        "promised": {
            "duplicates": case.promise.duplicates,
            "acknowledgement_gap_s": case.promise.ack_gap_s,
            "execution_gap_s": case.promise.run_gap_s,
            "beyond_the_fault": case.promise.during,
            "errors": sorted(case.promise.errors),
        },
        "seconds": round(outcome.seconds, 1),
        "broken": outcome.broken,
    }


def show(outcomes: Sequence[Outcome], not_run: Mapping[int, str], facts: Mapping[str, Any]) -> None:
    """The table."""
    table = Table(title="Faults under load: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    for heading in ("row", "what happens", "topology", "durability"):
        table.add_column(heading, overflow="fold")
    for heading in (
        "acked",
        "below",
        "refused",
        "lost",
        "again",
        "anew",
        "stale",
        "deaths",
        "acks s",
        "runs s",
        "kept",
    ):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        case, verdict = outcome.case, outcome.verdict
        numbers = (verdict.acked, verdict.degraded, verdict.refused.total(), verdict.lost)
        counts = (verdict.again, verdict.anew, verdict.stale, verdict.deaths)
        gaps = (f"{verdict.ack_gap_s:.1f}", f"{verdict.run_gap_s:.1f}", "NO" if outcome.broken else "yes")
        words = (case.row, case.fault.name, case.topology, case.durability, *numbers, *counts, *gaps)
        table.add_row(*map(str, words))
    console = Console(width=WIDTH)
    console.print(table)
    for row, reason in not_run.items():
        console.print(f"row {row} has not run: {reason}")
    for outcome in outcomes:
        for problem in outcome.broken:
            console.print(f"{outcome.case}: {problem}", style="bold red")
