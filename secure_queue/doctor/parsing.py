"""Reads what servers tell: replies of ``INFO``, ``CLUSTER NODES`` and of commands that answer with a map. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from secure_queue.doctor.facts import SLOTS, Member
from secure_queue.names import printable

_LONGEST: Final = 400
_MYSELF: Final = re.compile(r"(?P<host>.*):(?P<port>\d+)@")
_SLOTS: Final = re.compile(r"(\d+)(?:-(\d+))?")


def info_lines(raw: bytes) -> dict[str, str]:
    """``name:value`` lines as a map."""
    lines = (line.partition(":") for line in raw.decode("utf-8", "replace").splitlines() if line[:1] != "#")
    return {name: printable(value, _LONGEST) for name, colon, value in lines if colon}


def attached(told: Mapping[str, str]) -> list[dict[str, str]]:
    """The replicas of a primary, from lines such as ``slave0:ip=…,port=…,state=online,offset=…,lag=0``."""
    lines = (text for name, text in told.items() if name.startswith("info.slave") and text.startswith("ip="))
    return [dict(part.partition("=")[::2] for part in line.split(",")) for line in lines]


def plain(reply: Any) -> dict[str, str]:
    """A map in the form of RESP2 or RESP3, as text; lists within it are left out."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=False)
    return {printable(name): text for name, value in pairs if (text := _text(value)) is not None}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return printable(value, _LONGEST)
    return str(value) if isinstance(value, int | float) else None


def members(raw: bytes, here: str) -> tuple[Member, ...]:
    """``CLUSTER NODES``; a node that does not know its own address has the one of *here*."""
    return tuple(_members(raw.decode("utf-8", "replace"), here))


def _members(text: str, here: str) -> Iterator[Member]:
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8:
            continue
        found = _MYSELF.match(words[1])
        name = f"{found['host'] or here}:{found['port']}" if found else printable(words[1])
        served, opened = words[8:], tuple(printable(word) for word in words[8:] if word.startswith("["))
        flags = frozenset(words[2].split(","))
        primary_id = "" if words[3] == "-" else words[3]
        yield Member(words[0], name, flags, primary_id, sum(map(_count, served)), opened)


def _count(word: str) -> int:
    found = _SLOTS.fullmatch(word)
    if found is None:
        return 0
    first, last = int(found[1]), int(found[2] or found[1])
    return max(0, min(last, SLOTS - 1) - first + 1)


def dangerous_rules(commands: str) -> str:
    """Which dangerous commands ACL rules such as ``+@all -flushall`` grant, for servers that cannot be asked one by one.

    Rules are applied from left to right, as the server does.
    """
    granted = dict.fromkeys(("flushall", "keys", "shutdown", "config", "replicaof", "acl", "debug"), False)
    for rule in commands.split():
        sign, word = rule[:1], rule[1:].lower()
        reach = tuple(granted) if word in ("@all", "@dangerous") else (word,) if word in granted else ()
        granted |= dict.fromkeys(reach, sign == "+")
    return ", ".join(command.upper() for command, may in granted.items() if may)
