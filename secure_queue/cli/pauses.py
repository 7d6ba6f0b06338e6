"""``secure-queue pause`` and ``resume``: what workers begin nothing of for a while."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from secure_queue.cli.output import fail, hint
from secure_queue.cli.target import Target, ask
from secure_queue.errors import ConfigurationError
from secure_queue.names import printable
from secure_queue.pausing import Pause

Priority = Annotated[str | None, typer.Option("--priority", metavar="NAME", help="Only this priority.")]
TaskName = Annotated[str | None, typer.Option("--task", metavar="NAME", help="Only tasks of this name.")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def pause(
    target: Target,
    priority: Priority = None,
    task: TaskName = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="For so long: 30s, 5m, 2h, 1d; else until resumed.")
    ] = None,
) -> None:
    """Let workers begin nothing more of TARGET's queue; what runs goes on, and tasks are enqueued as before."""
    seconds = None if for_ is None else _duration(for_)
    ask(target, lambda worker: worker.pause(priority=priority, task=task, seconds=seconds))
    hint(f"paused: {told(Pause(priority, task, None if seconds is None else seconds.total_seconds()))}")


def resume(target: Target, priority: Priority = None, task: TaskName = None) -> None:
    """End a pause of TARGET's queue.

    Exit code 0: done. 1: it was not paused.
    """
    if not ask(target, lambda worker: worker.resume(priority=priority, task=task)):
        fail("it is not paused; `secure-queue status` shows what is", 1)
    hint(f"resumed: {told(Pause(priority, task, 0.0))}")


def told(pause: Pause) -> str:
    """A pause in a few words."""
    parts = {"priority": pause.priority, "task": pause.task}
    what = next((f"{part} {printable(name)}" for part, name in parts.items() if name), "queue")
    if pause.left_s is None:
        return f"{what}, until it is resumed"
    return f"{what}, for {pause.left_s:.0f} s" if pause.left_s else what


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None or not float(found[1]):
        raise ConfigurationError(f"{printable(text)!r} is no duration; write for example --for 30s, 5m, 2h or 1d")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2] or "s"])
