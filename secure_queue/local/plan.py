"""What a local topology shall be: chosen from what is asked for now and what its folder remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from secure_queue.errors import ConfigurationError
from secure_queue.local.private import read_private, write_private

FIRST_PORT = 7100
SENTINELS = 3
LONGEST_GROUP = 100


class Kind(Enum):
    """The topologies."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_REPLICAS = {Kind.STANDALONE: 0, Kind.SENTINEL: 2, Kind.CLUSTER: 1}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; None where nothing is said. *ports* is one to count from, or one for each process."""

    kind: Kind
    ports: Sequence[int] | None = None
    replicas: int | None = None
    primaries: int | None = None
    certificates: Path | None = None
    passwords: Path | None = None
    tls: bool | None = None
    users: bool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A topology with all its numbers; *certificates* and *passwords* are paths, or empty without TLS and users."""

    kind: str
    ports: tuple[int, ...]
    replicas: int
    primaries: int
    certificates: str = ""
    passwords: str = ""


def new_plan(wish: Wish, folder: Path) -> Plan:
    """The plan of a folder that holds nothing yet."""
    replicas = _REPLICAS[wish.kind] if wish.replicas is None else wish.replicas
    primaries = (3 if wish.primaries is None else wish.primaries) if wish.kind is Kind.CLUSTER else 1
    if wish.kind is not Kind.CLUSTER and wish.primaries is not None:
        raise ConfigurationError("--primaries goes with cluster; the other topologies have one primary")
    if wish.kind is Kind.CLUSTER and primaries < 3:
        raise ConfigurationError("a cluster needs 3 primaries for a majority; give --primaries 3 or more")
    count = primaries * (1 + replicas) + (SENTINELS if wish.kind is Kind.SENTINEL else 0)
    certificates = wish.certificates or (folder / "tls" if wish.tls else None)
    passwords = wish.passwords or (folder / "passwords.json" if wish.users else None)
    return Plan(
        kind=wish.kind.value,
        ports=_ports(wish.ports, count),
        replicas=replicas,
        primaries=primaries,
        certificates=str(certificates.absolute()) if certificates else "",
        passwords=str(passwords.absolute()) if passwords else "",
    )


def same_plan(wish: Wish, known: Plan) -> Plan:
    """The plan that a folder remembers; raises ``ConfigurationError`` if something else is asked for now."""
    if wish.kind.value != known.kind:
        raise ConfigurationError(f"the folder holds a {known.kind} topology; start that, or name another --folder")
    for name, wanted in _said(wish, known).items():
        kept = getattr(known, name)
        if wanted != kept:
            raise ConfigurationError(
                f"the folder holds a topology that was made with {_OPTIONS[name]} {_shown(kept)}; "
                "leave that option out, or name another --folder"
            )
    return known


_OPTIONS = {
    "ports": "--port",
    "replicas": "--replicas",
    "primaries": "--primaries",
    "certificates": "--tls",
    "passwords": "--users",
}


def _said(wish: Wish, known: Plan) -> Mapping[str, object]:
    """What *wish* says, in the words of a plan."""
    said: dict[str, object] = {}
    if wish.ports is not None:
        said["ports"] = _ports(wish.ports, len(known.ports))
    if wish.replicas is not None:
        said["replicas"] = wish.replicas
    if wish.primaries is not None:
        said["primaries"] = wish.primaries
    for name, path, switch in (
        ("certificates", wish.certificates, wish.tls),
        ("passwords", wish.passwords, wish.users),
    ):
        if path is not None:
            said[name] = str(path.absolute())
        elif switch:
            said[name] = getattr(known, name) or "yes"
    return said


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if value != "" else "switched off"


def _ports(given: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if count > LONGEST_GROUP:
        raise ConfigurationError(f"that would be {count} processes; take no more than {LONGEST_GROUP}")
    if given is None or len(given) == 1:
        first = given[0] if given else FIRST_PORT
        return tuple(range(first, first + count))
    if len(given) != count:
        raise ConfigurationError(f"--port names {len(given)} ports for {count} processes; name the first one, or all")
    return tuple(given)


def recall(folder: Path) -> Plan | None:
    """The plan that *folder* was started with, if it ever was."""
    path = _record(folder)
    if not path.exists():
        return None
    try:
        found: Any = json.loads(read_private(path))
        return Plan(**{**found, "ports": tuple(found["ports"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"{path} is damaged; name another --folder, or remove this one") from error


def remember(folder: Path, plan: Plan) -> None:
    """Write down the plan, so that the next start needs no options."""
    write_private(_record(folder), json.dumps(asdict(plan), indent=2).encode() + b"\n")


def _record(folder: Path) -> Path:
    return folder / "topology.json"
