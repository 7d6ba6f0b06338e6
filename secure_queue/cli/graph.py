"""``secure-queue graph``: the tasks of a workflow, what each waits for, and how far it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from secure_queue.cli.output import hint, say_json, show, table
from secure_queue.cli.target import Target, ask
from secure_queue.names import printable
from secure_queue.workflows import Workflow


def graph(
    target: Target,
    task_id: Annotated[
        str, typer.Argument(metavar="ID", help="The last task of the workflow, or any that has not ended.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Stop all of its tasks that have not ended, first.")] = False,
) -> None:
    """Show the tasks of one workflow of TARGET, parents first, with the end of each parent that lets it run."""
    if abort:
        stopped = ask(target, lambda worker: worker.abort_workflow(task_id))
        hint(f"stopped {len(stopped)} tasks")
    found = ask(target, lambda worker: worker.workflow(task_id))
    if json:
        say_json(asdict(found))
        return
    made = table(f"workflow {printable(found.workflow_id)}", "#", "task", "state", "after", "id")
    for row in _rows(found):
        made.add_row(*row)
    show(made)


def _rows(workflow: Workflow) -> list[tuple[str, ...]]:
    """One row for each task; parents of the same workflow are told by their number, others by their id."""
    numbers = {task.task_id: str(number) for number, task in enumerate(workflow.tasks, 1)}
    rows: list[tuple[str, ...]] = []
    for task in workflow.tasks:
        after = ", ".join(f"{numbers.get(parent, printable(parent))} ({on})" for parent, on in task.after)
        names = printable(task.fn_name), printable(task.task_id)
        rows.append((numbers[task.task_id], names[0], task.status.value, after, names[1]))
    return rows
