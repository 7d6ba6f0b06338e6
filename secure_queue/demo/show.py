"""How the demo looks: a live bar and tables on a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from secure_queue.audit.findings import Finding
from secure_queue.demo.attack import Forgery
from secure_queue.demo.job import FileResult, Job
from secure_queue.demo.outage import Loss
from secure_queue.demo.trial import Outcome
from secure_queue.names import printable

LARGEST = 8
PLAIN_WIDTH = 140
DIGITS = 12
LONGEST_PATH = 4096


class Show:
    """Prints the story; *silent* prints nothing."""

    def __init__(self, *, silent: bool = False) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.console = Console(highlight=False, markup=False, emoji=False, quiet=silent, width=width)

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self.console.print()
        self.console.print(Text(title, style="bold cyan"))

    def line(self, text: str, *, style: str = "") -> None:
        """One sentence."""
        self.console.print(Text(f"  {text}", style=style))

    def put(self, renderable: RenderableType) -> None:
        """Something that renders itself, such as a report."""
        self.console.print(renderable)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for *total* steps; yields the function that counts them. Safe to call from another thread."""
        columns = (
            TextColumn("  {task.description:<22}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bar:
            step = bar.add_task(what, total=total)
            yield lambda count: bar.advance(step, count)
        if not self.console.is_terminal:
            self.line(f"{what}: {total:,} of {total:,}")

    def job(self, job: Job) -> None:
        """The figures of the main job and its largest files."""
        count, megabytes = len(job.results), job.hashed_bytes / 1e6
        rate = job.timed / job.enqueue_s
        self.line(f"enqueued  {job.timed:,} signed tasks in {job.enqueue_s:.2f} s = {rate:,.0f} tasks/s")
        self.line(
            f"ran       {count:,} tasks in {job.run_s:.2f} s = {count / job.run_s:,.0f} tasks/s, "
            f"{megabytes:,.1f} MB hashed = {megabytes / job.run_s:,.0f} MB/s"
        )
        good = count - len(job.wrong)
        self.line(f"verified  {good:,} of {count:,} results equal a direct computation", style=_mood(not job.wrong))
        self.put(_files_table(f"The {min(LARGEST, count)} largest files", job.largest(LARGEST)))
        if job.wrong:
            wrong = [result for result in job.results if not result.verified]
            self.put(_files_table("Results that are wrong", wrong[:LARGEST]))

    def loss(self, loss: Loss, total: int) -> None:
        """What happened to the primary, and what did not happen to the tasks."""
        self.line(
            f"killed    the primary {loss.killed} (kill -9), when {loss.done_before:,} of {total:,} tasks were done"
        )
        self.line(
            f"enqueued  {loss.enqueued_after:,} more into the outage; the first was acknowledged after "
            f"{loss.outage_s:.1f} s by {loss.successor}"
        )

    def forgeries(self, forgeries: Sequence[Forgery]) -> None:
        """What the attacker has written."""
        table = _table("Written into Redis with no key", "forgery", "what was written", "into task")
        for forgery in forgeries:
            table.add_row(forgery.name, forgery.written, _ids(forgery))
        self.put(table)

    def alarms(self, alarms: Sequence[Finding]) -> None:
        """What an audit finds before any worker has met the forgeries."""
        table = _table("What an audit says, before any worker has looked", "task", "severity", "finding", "detail")
        for alarm in alarms:
            table.add_row(_short(alarm.id), Text(alarm.severity, style="bold red"), alarm.code, Text(alarm.detail))
        self.put(table)

    def outcome(self, forgeries: Sequence[Forgery], outcome: Outcome, neighbours: int) -> None:
        """What has become of each forgery, whether one has run as far as files tell, and how the genuine tasks fared."""
        table = _table("What became of it", "forgery", "into task", "put aside because", "as it should be")
        for forgery in forgeries:
            found = [outcome.reasons.get(task_id, "not put aside") for task_id in forgery.task_ids]
            good = all(reason == forgery.reason for reason in found)
            table.add_row(forgery.name, _ids(forgery), Text("\n".join(found)), _mark(good, "refused"))
        self.put(table)
        left = ", ".join(outcome.forged_traces) or "none; no forged task has run"
        self.line(f"files made by forged tasks: {left}", style=_mood(not outcome.forged_traces))
        fared = "all ran, and so did one enqueued afterwards" if outcome.genuine_well else "NOT all ran"
        self.line(f"genuine tasks beside them ({neighbours}): {fared}", style=_mood(outcome.genuine_well))

    def verdict(self, problems: Sequence[str]) -> None:
        """The last word."""
        self.console.print()
        for problem in problems:
            self.console.print(Text(f"FAILED: {problem}", style="bold red"), soft_wrap=True)
        if not problems:
            text = "OK: every result is right, no forgery ran, and every forgery was found and named."
            self.console.print(Text(text, style="bold green"))


def _files_table(title: str, results: Sequence[FileResult]) -> Table:
    table = _table(title, "file")
    for column in ("bytes", "lines"):
        table.add_column(column, justify="right")
    table.add_column(f"SHA-256 (first {DIGITS} digits)")
    table.add_column("same as direct")
    base = os.path.commonpath([result.path.parent for result in results])
    for result in results:
        facts = result.facts
        numbers = (f"{facts.size:,}", f"{facts.lines:,}", facts.sha256[:DIGITS]) if facts else ("", "", "no result")
        table.add_row(
            Text(printable(os.path.relpath(result.path, base), LONGEST_PATH)),
            *numbers,
            _mark(result.verified, "verified"),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _ids(forgery: Forgery) -> str:
    return "\n".join(map(_short, forgery.task_ids))


def _short(task_id: str) -> str:
    return f"{task_id[:DIGITS]}..."


def _mark(good: bool, word: str) -> Text:
    return Text(word if good else f"NOT {word}", style=_mood(good))


def _mood(good: bool) -> str:
    return "green" if good else "bold red"
