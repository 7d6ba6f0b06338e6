"""``secure-queue demo``: the main job on real input, then three forgeries, then the audit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from secure_queue.cli.output import fail, say_json
from secure_queue.demo.files import collect, standard_library
from secure_queue.demo.outage import Topology
from secure_queue.demo.run import run
from secure_queue.demo.show import Show
from secure_queue.errors import ConfigurationError


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The folder whose files are hashed.", show_default="Python's standard library"),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many worker processes run.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Take no more than this many files.")] = None,
    topology: Annotated[
        Topology, typer.Option(help="Where the queue lives; with sentinel and cluster its primary is killed.")
    ] = Topology.EMBEDDED,
    json: Annotated[
        bool, typer.Option("--json", help="Print the figures as one JSON object and nothing else.")
    ] = False,
) -> None:
    """Run the main job on real files, then try to break in.

    Starts a private redis-server, enqueues one signed task per file of FOLDER (its SHA-256, size and lines), runs
    worker processes, and compares every result with a direct computation. Then a forged pickle, a flipped bit and a
    swapped payload are written into Redis: an audit must name them, and none may run.

    With --topology sentinel or cluster the servers are a whole group, and the primary that holds the queue is killed
    when a part of the tasks has run; the other tasks are enqueued into the outage, and nothing may be lost.

    Exit code 0: all of that is true. 1: something is not, and the output says what. 2: there is no input.
    """
    try:
        files = collect(folder or standard_library(), limit)
        if topology is not Topology.EMBEDDED and len(files) < 2:
            raise ConfigurationError(
                "one file is too few: half of them are enqueued into an outage; name another folder"
            )
    except ConfigurationError as error:
        fail(str(error), 2)
    summary = run(files, processes, Show(silent=json), topology)
    if json:
        say_json(asdict(summary))
    raise typer.Exit(1 if summary.problems else 0)
