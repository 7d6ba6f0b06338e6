"""The users of a deployment: what each may do, and passwords that only their owner can read.

An ACL file says ``resetpass`` where a password belongs; ``with_passwords`` puts the SHA-256 of one there, so that the
files that servers read hold none.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_queue.errors import ConfigurationError
from secure_queue.local.private import read_private, write_private
from secure_queue.secret import Secret

APP, ADMIN, REPLICA, SENTINEL = "app", "admin", "replica", "sentinel"
PASSWORD_BYTES = 32
SHORTEST = 16

NOBODY = "user default off resetpass ~* &* +@all"
"""Nobody can log in as this user. It keeps its rights: Redis 7.0 reads its append-only file under its name, and without
them it leaves out every transaction and script that stands there."""
SERVER_USERS = (
    NOBODY,
    "user app on resetpass resetchannels ~sq:* &sq:* -@all +@read +@write +@blocking +@pubsub +@scripting +@connection"
    " +@transaction -@dangerous -@admin +time +wait +info +role +cluster|info +cluster|slots +cluster|shards"
    " +cluster|nodes +cluster|myid",
    "user admin on resetpass ~* &* +@all",
    "user replica on resetpass resetchannels -@all +psync +replconf +ping",
    "user sentinel on resetpass resetchannels &__sentinel__:* -@all +ping +info +role +publish +subscribe +multi +exec"
    " +slaveof +config|rewrite +client|setname +client|kill +script|kill",
)
"""Who may do what on a data server: applications, operators, replicas, and the sentinels that watch it."""
SENTINEL_USERS = (
    NOBODY,
    "user app on resetpass resetchannels &* -@all +@connection +info +subscribe +psubscribe +sentinel|masters"
    " +sentinel|master +sentinel|get-master-addr-by-name +sentinel|replicas +sentinel|sentinels +sentinel|ckquorum",
    "user admin on resetpass ~* &* +@all",
    "user sentinel on resetpass ~* &* +@all",
)
"""Who may do what on a sentinel: applications ask who is primary, sentinels ask each other to vote."""

_USER = re.compile(r"user (?P<name>\S+) (?P<rules>.*)")


@dataclass(frozen=True, slots=True)
class Logins:
    """The passwords of the users, by name."""

    passwords: Mapping[str, Secret]

    def of(self, name: str) -> Secret:
        """The password of one user."""
        return self.passwords[name]


def users_in(lines: Sequence[str]) -> list[str]:
    """The users of an ACL file that need a password."""
    found = [match for line in lines if (match := _USER.fullmatch(line.strip()))]
    return [match["name"] for match in found if {"on", "resetpass"} <= set(match["rules"].split())]


def with_passwords(lines: Sequence[str], logins: Logins) -> str:
    """The text of an ACL file with passwords in it, or what stands for them."""
    return "".join(f"{_with_password(line.strip(), logins)}\n" for line in lines if _USER.fullmatch(line.strip()))


def _with_password(line: str, logins: Logins) -> str:
    [*names] = users_in([line])
    if not names:
        return line
    digest = hashlib.sha256(logins.of(names[0]).reveal()).hexdigest()
    return line.replace(" resetpass", f" resetpass #{digest}", 1)


def keep_logins(path: Path, names: Sequence[str]) -> Logins:
    """The passwords in the private file *path*; those that are missing are made and written there."""
    known = _read(path) if path.exists() else {}
    made = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in names if name not in known}
    if made:
        write_private(path, json.dumps(known | made, indent=2).encode() + b"\n")
    return Logins({name: Secret(password.encode()) for name, password in (known | made).items()})


def _read(path: Path) -> dict[str, str]:
    problem = f'{path} must hold one JSON object of user names and passwords, such as {{"{APP}": "…"}}'
    try:
        found: Any = json.loads(read_private(path))
    except ValueError:
        raise ConfigurationError(problem) from None  # the cause would quote the file
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigurationError(problem)
    short = [name for name, password in found.items() if len(password) < SHORTEST]
    if short:
        raise ConfigurationError(
            f"the password of {short[0]} in {path} has fewer than {SHORTEST} characters; take more"
        )
    return found
