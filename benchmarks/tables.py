"""The result as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.environments import BEFORE, CONTENDERS

RATIOS = {"streaq": "ratios", "saq": "ratios_saq", "before": "ratios_before"}
TITLES = {each.name: each.title for each in (*CONTENDERS.values(), BEFORE)}


def show(report: dict[str, Any]) -> None:
    """Print the object of ``summary.report``."""
    console = Console()
    console.print(_facts(report["run"]))
    if any(report["per_second"].values()):
        console.print(_rates(report))
    if waits := _all_waits(report):
        console.print(_waits(waits))
    if report["seal_us"]:
        console.print(_sealing(report["seal_us"]))


def _facts(run: dict[str, Any]) -> str:
    versions = ", ".join(f"{TITLES[name]} {version}" for name, version in run["versions"].items())
    return (
        f"{versions}; {run['server']}; Python {run['python']}; {run['cpus']} CPUs; "
        f"{run['tasks']:,} tasks; rounds: {run['rounds']}, of which medians"
    )


def _rates(report: dict[str, Any]) -> Table:
    table = Table(title="tasks per second")
    table.add_column("measurement")
    names = list(report["per_second"])
    for name in names:
        table.add_column(TITLES[name], justify="right")
    peers = [name for name in RATIOS if report[RATIOS[name]]]
    for name in peers:
        table.add_column(f"ours / {TITLES[name]}", justify="right", style="bold")
    for measurement in next(iter(report["per_second"].values())):
        rates = [f"{report['per_second'][name][measurement]:,.0f}" for name in names]
        table.add_row(measurement, *rates, *(f"{report[RATIOS[name]][measurement]:.2f}" for name in peers))
    return table


def _sealing(costs: dict[str, dict[str, float]]) -> Table:
    table = Table(title="a payload of secure_queue, µs of one processor (a task with its result: twice)")
    table.add_column("suite and size")
    columns = ("seal", "open", "both", "least")
    for column in columns:
        table.add_column(column, justify="right")
    for name, numbers in costs.items():
        table.add_row(name, *(f"{numbers[key]:.1f}" for key in columns))
    return table


def _all_waits(report: dict[str, Any]) -> list[tuple[str, str, dict[str, float]]]:
    ours = [("ours", "result", report["latency_ms"])] if report["latency_ms"] else []
    peers = [
        (peer, way, numbers)
        for peer, first in report["latency_ms_peers"].items()
        for way, numbers in {first["way"]: first, **first["other_ways"]}.items()
    ]
    return ours + peers


def _waits(waits: list[tuple[str, str, dict[str, float]]]) -> Table:
    table = Table(title="enqueue to result on an idle worker, ms")
    for column in ("library", "way of waiting"):
        table.add_column(column)
    for column in ("p50", "p99", "max"):
        table.add_column(column, justify="right")
    for name, way, numbers in waits:
        table.add_row(TITLES[name], way, *(f"{numbers[key]:.2f}" for key in ("p50", "p99", "max")))
    return table
