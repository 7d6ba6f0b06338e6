"""``secure-queue partitions``: what each partition of a queue holds, and giving up those that nobody needs any more."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from secure_queue.cli.output import fail, say_json, show, table
from secure_queue.cli.target import Target, ask
from secure_queue.storage import Counts
from secure_queue.worker import Worker


def partitions(
    target: Target,
    shrink: Annotated[
        bool,
        typer.Option("--shrink", help="First give up empty partitions beyond those of TARGET, from the last one on."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the tasks in each partition that anybody uses.

    Exit code 0: done. 1: with --shrink, more partitions than those of TARGET are still in use.
    """

    async def look(worker: Worker[Any]) -> tuple[str, int, list[Counts]]:
        if shrink:
            await worker.shrink_partitions()
        return worker.queue_name, worker.partitions, await worker.partition_counts()

    name, wanted, found = ask(target, look)
    if json:
        say_json({"queue": name, "partitions": [asdict(one) for one in found]})
    else:
        _show(name, found)
    if shrink and len(found) > wanted:
        why = "they hold something, others use them, or ids of your own are spread over them"
        fail(f"{len(found)} partitions are still in use and {wanted} are wanted: {why}", 1)


def _show(name: str, found: list[Counts]) -> None:
    made = table(
        *(f"queue {name}", "partition", "ready", "scheduled", "behind in lines", "paused by name"),
        *("running", "results", "dead", "put aside"),
    )
    for number, one in enumerate(found):
        waiting = (sum(counts.values()) for counts in (one.ready, one.due, one.in_lines, one.shelved))
        made.add_row(*map(str, (number, *waiting, one.running, one.results, one.dead, one.quarantined)))
    show(made)
