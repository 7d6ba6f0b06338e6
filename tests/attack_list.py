"""The acceptance list of attacks: tests bear its numbers (``@pytest.mark.attack(10)``), and a run says which it has proved.

``make attack`` runs them all. A number is proved when every test that bears it passed; the summary also names those that
no test bears yet.
"""

from __future__ import annotations

import pytest

ENTRIES = range(1, 67)


def number_reports(items: list[pytest.Item]) -> None:
    """Write the numbers into the report of each test: it is all that comes back from another process."""
    for item in items:
        for mark in item.iter_markers("attack"):
            for number in mark.args:
                assert number in ENTRIES, f"{item.nodeid}: the list has no entry {number}"
                item.user_properties.append(("attack", number))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After ``-m attack``: what is proved, what failed, and what waits for a test."""
    if config.getoption("markexpr") != "attack":
        return
    numbers = {word: _numbers(terminalreporter, word) for word in ("passed", "failed", "error", "skipped")}
    bad = numbers["failed"] | numbers["error"]
    proved = numbers["passed"] - bad - numbers["skipped"]
    terminalreporter.section("attacks")
    terminalreporter.write_line(f"proved ({len(proved)} of {len(ENTRIES)}): {_listed(proved)}")
    for word, found in (("failed", bad), ("skipped", numbers["skipped"]), ("no test yet", _untested(numbers))):
        if found:
            terminalreporter.write_line(f"{word}: {_listed(found)}")


def _numbers(reporter: pytest.TerminalReporter, word: str) -> set[int]:
    reports = reporter.stats.get(word, [])
    return {int(value) for report in reports for name, value in report.user_properties if name == "attack"}


def _untested(numbers: dict[str, set[int]]) -> set[int]:
    return set(ENTRIES).difference(*numbers.values())


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
