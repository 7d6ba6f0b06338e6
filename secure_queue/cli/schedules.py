"""``secure-queue schedules``: what runs again and again, and when next."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from secure_queue.cli.output import fail, hint, say_json, show, table
from secure_queue.cli.target import Target, ask
from secure_queue.listing import BrokenTask
from secure_queue.names import printable
from secure_queue.scheduling import ScheduleInfo

Row = ScheduleInfo | BrokenTask

schedules = typer.Typer(help="Schedules: list, delete.", no_args_is_help=True, rich_markup_mode=None)


@schedules.command("list")
def list_(
    target: Target,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the schedules of TARGET, those of its code and those stored in the queue."""
    rows = ask(target, lambda worker: worker.schedules())
    if json:
        say_json({"schedules": [_plain(row) for row in rows]})
        return
    made = table("schedules", "id", "task", "rule", "missed", "next (UTC)", "last (UTC)", "kept in")
    for row in rows:
        made.add_row(*_cells(row))
    show(made)


@schedules.command("delete")
def delete(
    target: Target,
    schedule_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the schedule.")],
) -> None:
    """Delete a stored schedule; runs that it has enqueued stay."""
    if not ask(target, lambda worker: worker.unschedule_by_id(schedule_id)):
        fail(f"no schedule {printable(schedule_id)} is stored; those of code end when they leave the code", 1)
    hint(f"deleted {printable(schedule_id)}")


def _cells(row: Row) -> tuple[str, ...]:
    if isinstance(row, BrokenTask):
        return row.task_id, "", f"does not open: {row.reason}", "", "", "", "queue"
    kept = "code" if row.in_code else "queue"
    names = printable(row.schedule_id), printable(row.fn_name), printable(row.rule)
    return *names, row.misfire, _time(row.next), _time(row.last), kept


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _plain(row: Row) -> dict[str, Any]:
    if isinstance(row, BrokenTask):
        return {"schedule_id": row.task_id, "reason": row.reason}
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(row).items()}
