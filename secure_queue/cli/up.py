"""``secure-queue up``: a whole topology of real servers on loopback, for development."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from secure_queue.background import beside
from secure_queue.cli.up_view import View, view_for
from secure_queue.errors import ConfigurationError, EmbeddedServerError
from secure_queue.execution.shutdown import TO_END, on_signals
from secure_queue.local.groups import Group
from secure_queue.local.plan import Kind, Wish
from secure_queue.local.survey import look

INTERVAL_S = 1.0


def up(
    topology: Annotated[Kind, typer.Argument(help="What to start.", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Keep the data, and what is chosen here, in this folder. [default: none]"),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="PORT[,PORT...]", help="The first port, or one for each process. [default: 7100]"),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="Replicas of each primary. [default: sentinel 2, cluster 1, standalone 0]")
    ] = None,
    primaries: Annotated[int | None, typer.Option(min=1, help="Primaries of a cluster. [default: 3]")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS, with certificates made for this topology.")] = False,
    certs: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Speak TLS, with what `secure-queue certs PATH` has made.")
    ] = None,
    users: Annotated[
        bool, typer.Option("--users", help="Require logins; passwords are made and kept in a private file.")
    ] = False,
    passwords: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Require logins with the passwords in this private JSON file."),
    ] = None,
    binary: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The redis-server or valkey-server to run.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object when it is up, and one for each change.")
    ] = False,
) -> None:
    """Start TOPOLOGY from real servers on loopback, print the URL to use, and show how they are until a signal comes.

    Ctrl-C or SIGTERM ends all processes. With --folder their data is kept and found again.

    Exit code 0: it ended as it was asked to. 2: it could not be started, or every process has ended by itself.
    """
    from secure_queue.local.hosting import group_of  # both need POSIX locks, which no other command asks for
    from secure_queue.redis.embedded import find_binary

    wish = Wish(
        kind=topology,
        ports=None if port is None else _ports(port),
        replicas=replicas,
        primaries=primaries,
        certificates=certs,
        passwords=passwords,
        tls=tls or None,
        users=users or None,
    )
    with group_of(wish, folder, find_binary(binary)) as group, view_for(topology, group, folder, json=json) as view:
        anyio.run(partial(_serve, group, view))
    if view.all_are_down:
        raise EmbeddedServerError(f"every process has ended; see the logs in {group.folder}")


async def _serve(group: Group, view: View) -> None:
    """Until a signal comes, or nobody is left."""
    async with beside() as tasks:
        await tasks.start(on_signals, tasks.cancel_scope.cancel, TO_END)
        await group.start()
        while not view.all_are_down:
            view.update(await look(group.nodes))
            await anyio.sleep(INTERVAL_S)


def _ports(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdecimal() for part in parts):
        raise ConfigurationError("--port takes a number, or several separated by commas, for example 7100,7101,7102")
    return [int(part) for part in parts]
