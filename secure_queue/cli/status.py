"""``secure-queue status``: how many tasks stand in each state."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from secure_queue.cli.output import say, say_json, show, table
from secure_queue.cli.pauses import told
from secure_queue.cli.target import Target, ask
from secure_queue.pausing import Pause
from secure_queue.storage import Counts
from secure_queue.worker import Worker


def status(
    target: Target,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the tasks of TARGET in each state, and the workers that have shown themselves lately."""
    name, counts, pauses = ask(target, _look)
    if json:
        say_json({"queue": name, **asdict(counts), "paused": [asdict(pause) for pause in pauses]})
        return
    made = table(f"queue {name}", "state", "tasks")
    for state, number in _rows(counts):
        made.add_row(state, str(number))
    show(made)
    for pause in pauses:
        say(f"paused: {told(pause)}")


async def _look(worker: Worker[Any]) -> tuple[str, Counts, list[Pause]]:
    return worker.queue_name, await worker.counts(), await worker.paused()


def _rows(counts: Counts) -> list[tuple[str, int]]:
    return [
        *((f"ready ({priority})", number) for priority, number in counts.ready.items()),
        *((f"scheduled ({priority})", number) for priority, number in counts.due.items()),
        ("running", counts.running),
        ("behind in lines", sum(counts.in_lines.values())),
        ("paused by name", sum(counts.shelved.values())),
        ("results kept", counts.results),
        ("dead letters", counts.dead),
        ("put aside", counts.quarantined),
        ("workers", counts.workers),
    ]
