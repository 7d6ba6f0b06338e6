"""``secure-queue dlq``: the tasks that failed for good, to be read, put back or deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from secure_queue.cli.output import escaped_lines, fail, hint, say, say_json, show, table
from secure_queue.cli.target import Target, ask
from secure_queue.dead_letters import DeadLetter
from secure_queue.errors import ConfigurationError, DuplicateTask, PayloadError, TaskNotFound
from secure_queue.listing import BrokenTask
from secure_queue.names import printable
from secure_queue.worker import Worker

PAGE = 500
LONGEST_MESSAGE = 80

Row = DeadLetter | BrokenTask
Act = Callable[[str], Awaitable[None]]

TaskId = Annotated[str | None, typer.Argument(metavar="[ID]", help="The id of the task.")]
TaskName = Annotated[str | None, typer.Option("--task", metavar="NAME", help="Only tasks of this name.")]
All = Annotated[bool, typer.Option("--all", help="All of them, instead of one ID.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --all.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

dlq = typer.Typer(
    help="Tasks that failed for good: list, show, retry, delete.", no_args_is_help=True, rich_markup_mode=None
)


@dlq.command("list")
def list_(
    target: Target,
    task: TaskName = None,
    limit: Annotated[int, typer.Option(min=1, help="No more than this many, oldest first.")] = 100,
    json: Json = False,
) -> None:
    """List the dead letters, oldest first; what does not open is listed with the reason."""
    rows = ask(target, lambda worker: _letters(worker, task, limit))
    if json:
        say_json({"dead_letters": [_plain(row) for row in rows]})
        return
    made = table("dead letters", "id", "task", "died", "tries", "error", "message")
    for row in rows:
        made.add_row(*_cells(row))
    show(made)


@dlq.command("show")
def show_(
    target: Target,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    json: Json = False,
) -> None:
    """Show why a task died: type, message and traceback of its last failure."""
    letter = ask(target, lambda worker: worker.dead_letter(task_id))
    if json:
        say_json(_plain(letter))
        return
    for name, text in (
        ("id", letter.task_id),
        ("task", letter.fn_name),
        ("died", f"{letter.died:%Y-%m-%d %H:%M:%S} UTC"),
        ("tries", str(letter.tries)),
        ("worker", letter.worker_id),
        ("error", letter.error),
    ):
        say(f"{name:<8}{printable(text)}")
    say(f"message\n{escaped_lines(letter.message)}")
    if letter.traceback:
        say(f"traceback\n{escaped_lines(letter.traceback)}")


@dlq.command()
def retry(target: Target, task_id: TaskId = None, all_: All = False, task: TaskName = None, yes: Yes = False) -> None:
    """Put dead letters back under a fresh seal, with all their tries; none whose unique key is taken."""
    _do("retry", "put back", target, task_id, all_, task, yes)


@dlq.command()
def delete(target: Target, task_id: TaskId = None, all_: All = False, task: TaskName = None, yes: Yes = False) -> None:
    """Delete dead letters for ever."""
    _do("delete", "deleted", target, task_id, all_, task, yes)


def _do(verb: str, done: str, target: str, task_id: str | None, all_: bool, task: str | None, yes: bool) -> None:
    if (task_id is None) is not all_:
        raise ConfigurationError("name one ID, or all of them with --all")
    if task and not all_:
        raise ConfigurationError("--task goes with --all")
    if task_id is not None:
        ask(target, lambda worker: _act_of(worker, verb)(task_id))
        hint(f"{done}: {printable(task_id)}")
        return
    ids = [row.task_id for row in ask(target, lambda worker: _letters(worker, task, None))]
    if ids and not yes:
        typer.confirm(f"{verb} {len(ids)} dead letters?", abort=True, err=True)
    count, problems = ask(target, lambda worker: _do_all(_act_of(worker, verb), ids))
    for problem in problems:
        hint(problem)
    hint(f"{done}: {count}")
    if problems:
        fail(f"{len(problems)} dead letters are left as they are", 1)


def _act_of(worker: Worker[Any], verb: str) -> Act:
    return worker.retry_dead_letter if verb == "retry" else worker.delete_dead_letter


async def _do_all(act: Act, ids: list[str]) -> tuple[int, list[str]]:
    """Act on each; a letter that somebody else has taken meanwhile counts as neither."""
    count, problems = 0, []
    for task_id in ids:
        try:
            await act(task_id)
        except TaskNotFound:
            continue
        except (PayloadError, ConfigurationError, DuplicateTask) as error:
            problems.append(f"{printable(task_id)}: {error}")
        else:
            count += 1
    return count, problems


async def _letters(worker: Worker[Any], task: str | None, limit: int | None) -> list[Row]:
    rows: list[Row] = []
    offset = 0
    while (limit is None or len(rows) < limit) and (page := await worker.dead_letters(limit=PAGE, offset=offset)):
        offset += PAGE
        rows += [row for row in page if task is None or (isinstance(row, DeadLetter) and row.fn_name == task)]
    return rows[:limit]


def _cells(row: Row) -> tuple[str, ...]:
    if isinstance(row, BrokenTask):
        return printable(row.task_id), "", "", "", "does not open", row.reason
    died = f"{row.died:%Y-%m-%d %H:%M:%S}"
    message = printable(row.message, LONGEST_MESSAGE)
    return row.task_id, printable(row.fn_name), died, str(row.tries), printable(row.error), message


def _plain(row: Row) -> dict[str, Any]:
    """Plain data; JSON escapes what a terminal should not see."""
    plain = asdict(row)
    return plain | {"died": row.died.isoformat()} if isinstance(row, DeadLetter) else plain
