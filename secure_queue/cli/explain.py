"""``secure-queue explain``: why a task does not run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from secure_queue.cli.output import escaped_lines, say, say_json
from secure_queue.cli.target import Target, ask
from secure_queue.names import printable
from secure_queue.tasks import TaskStatus


def explain(
    target: Target,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Say why a task of TARGET does not run, or what has become of it.

    Exit code 0: it is known. 1: nothing is stored of it.
    """
    found = ask(target, lambda worker: worker.explain_by_id(task_id))
    if json:
        say_json(asdict(found))
    else:
        say(f"{printable(found.task_id)} ({printable(found.fn_name or 'unknown task')}) is {found.status.value}")
        for reason in found.reasons:
            say(f"- {escaped_lines(reason.text)}")
    return 1 if found.status is TaskStatus.NOT_FOUND else 0
