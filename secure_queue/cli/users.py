"""``secure-queue users``: gives the users of ACL files their passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from secure_queue.cli.output import hint, say
from secure_queue.errors import ConfigurationError
from secure_queue.local.access import Access
from secure_queue.local.configuration import render
from secure_queue.local.layout import MASTER
from secure_queue.local.logins import REPLICA, SENTINEL, Logins, keep_logins, users_in, with_passwords
from secure_queue.local.private import private_folder, write_private
from secure_queue.redis.roles import Dialect, for_server


def users(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="ACL files that say `resetpass`.")],
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files with passwords go (mode 0700).")],
    server: Annotated[
        Dialect, typer.Option(help="Rules for Redis 6.2, for 7.0, or for 7.2 and later and Valkey.")
    ] = Dialect.REDIS_7_2,
) -> None:
    """Copy ACL files into a private folder, with the SHA-256 of a random password for every user that has none.

    The passwords themselves stand in FOLDER/passwords.json. Those that are there already are used again. If there are
    users for replicas and sentinels, auth.conf and sentinel-auth.conf hold the lines with which those log in.
    """
    texts = {file.name: [for_server(line, server) for line in _lines(file)] for file in files}
    names = list(dict.fromkeys(name for lines in texts.values() for name in users_in(lines)))
    if not names:
        raise ConfigurationError("no user in these files has the rule `resetpass`, so there is nothing to do")
    folder = private_folder(into)
    logins = keep_logins(folder / "passwords.json", names)
    for name, lines in texts.items():
        write_private(folder / name, with_passwords(lines, logins).encode())
        say(str(folder / name))
    for name, options in _logins_of_peers(names, logins):
        write_private(folder / name, render("", options).encode())
        say(str(folder / name))
    hint(f"the passwords of {', '.join(names)} stand in {folder / 'passwords.json'}")


def _logins_of_peers(names: list[str], logins: Logins) -> Iterator[tuple[str, dict[str, str]]]:
    """How replicas and sentinels log in: configuration that a server appends to its own."""
    access = Access(logins=logins)
    if REPLICA in names:
        yield "auth.conf", access.login_of_replica()
    if SENTINEL in names:
        yield "sentinel-auth.conf", access.login_of_sentinel(MASTER)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read; name an ACL file, such as sentinel/users.acl") from error
