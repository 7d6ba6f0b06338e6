"""``secure-queue certs``: the TLS material of a private deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secure_queue.cli.output import hint, say
from secure_queue.local.certificates import LEAF_DAYS, LOOPBACK_NAMES, make_certificates


def certs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; it is made, with mode 0700.")],
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="A host name or address of the servers; give all. [default: localhost, 127.0.0.1, ::1]",
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long servers and clients may use them.")] = LEAF_DAYS,
) -> None:
    """Make an authority, a certificate for the servers, and one for their clients.

    Run again, it makes new certificates under the authority that FOLDER holds: the way to renew them.
    """
    files = make_certificates(folder, host or LOOPBACK_NAMES, days)
    for made in (files.authority, files.server, files.server_key, files.client, files.client_key):
        say(str(made))
    hint(
        "next: servers get ca.pem, server.pem and server-key.pem, applications ca.pem, client.pem and client-key.pem\n"
        "      ca-key.pem belongs on neither: keep it where you will renew them"
    )
