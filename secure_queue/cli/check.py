"""``secure-queue check``: whether workers of a queue live, for the health check of a container, or a script."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from secure_queue.cli.output import fail, say, say_json
from secure_queue.cli.target import Target, ask
from secure_queue.errors import Unavailable
from secure_queue.names import printable
from secure_queue.presence import WORKER, Process, this_host
from secure_queue.worker import Worker


def check(
    target: Target,
    least: Annotated[int, typer.Option("--min", min=0, help="How many workers must live.")] = 1,
    here: Annotated[bool, typer.Option("--here", help="Count those of this machine, or container, alone.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="For how many seconds the server may take to answer.")] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether workers of the queue of TARGET live: they have shown themselves, under a seal, in the last 15 seconds.

    Exit code 0: enough of them do. 1: not enough. 2: the server does not answer, or TARGET cannot be loaded.
    """

    async def look(worker: Worker[Any]) -> tuple[str, list[Process]]:
        return worker.queue_name, await worker.processes()

    try:
        queue, processes = ask(target, look, patience_s=timeout)
    except TimeoutError:
        raise Unavailable(f"the server did not answer within {timeout:g} s") from None
    found = [one for one in processes if one.role == WORKER and (not here or one.host == printable(this_host(), 255))]
    if json:
        workers = [{"name": one.name, "host": one.host, "processed": one.processed} for one in found]
        say_json({"queue": queue, "live": len(found) >= least, "workers": workers})
    where = " on this machine" if here else ""
    if len(found) < least:
        fail(f"live workers of queue {queue}{where}: {len(found)}; there should be {least} at least", 1)
    if not json:
        say(f"live workers of queue {queue}{where}: {len(found)}")
