"""Least privilege: which scripts, commands and keys each role needs, as ``ACL SETUSER`` lines.

The commands of a role are read out of its Lua files, because the server checks every command inside a script against the
rules of the caller. So a script cannot come to need a command that its roles lack without their tests failing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.scripts import load, without_comments

PASSWORD: Final = "#SHA256-OF-THE-PASSWORD-IN-HEX"  # noqa: S105 - a blank to be filled in
"""Stands where the digest of a password belongs; a server refuses it, so that it cannot be forgotten."""

_CONNECTION: Final = ("hello", "auth", "ping", "select", "client|setname", "evalsha", "script|load")
_NEWER: Final = ("client|setinfo",)
_TOO_NEW: Final = re.compile(r" \+(?:client\|setinfo|waitaof)(?= |$)")
_SELECTOR: Final = re.compile(r"(?<= )\((\+.*?)\)(?= |$)")
_BITS: Final = re.compile(r"%[RW]~")
_CLUSTER: Final = ("cluster|info", "cluster|slots")
_OPTIONS: Final = frozenset({"COUNT", "LIMIT", "NX", "PX", "WITHSCORES", "KEEPTTL", "BYSCORE", "REV", "RANK", "MAXLEN"})
"""Upper-case words in the scripts that are arguments and no commands."""

_QUOTED: Final = re.compile(r"'([A-Z]{2,})'")


class Dialect(StrEnum):
    """Which rules a server understands."""

    REDIS_6_2 = "6.2"
    REDIS_7_0 = "7.0"
    REDIS_7_2 = "7.2"  # and later, and Valkey

    @property
    def has_selectors(self) -> bool:
        """Whether a rule can give a command on some keys only: to append to one and do nothing else to it, say."""
        return self is not Dialect.REDIS_6_2


class Role(StrEnum):
    """Who speaks to the server."""

    PRODUCER = "producer"
    WORKER = "worker"
    AUDITOR = "auditor"
    DASHBOARD = "dashboard"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a role needs: its scripts, further commands, kinds of keys, and whatever else its flags say."""

    scripts: frozenset[str]
    commands: frozenset[str]
    kinds: tuple[str, ...]
    asked_for: tuple[str, ...] = ()
    channels: bool = False
    appends_to_audit: bool = False
    waits_for_copies: bool = False


_PRODUCER_KINDS: Final = (
    *("meta", "config", "wake", "ready", "due", "finished", "tasks", "result", "partial", "presence", "present"),
    *("schedules", "fired", "handed", "outbox", "workflow", "unique", "lines"),
)
_WORKER_KINDS: Final = (
    *("workers", "leases", "results", "dead", "aborts", "claim", "quarantine", "misfit"),
    *("permits", "starts", "line", "turns", "expected", "called", "paused", "shelf", "replaced"),
)
_SIGNS_OF_USE: Final = ("leases", "results", "dead", "ready", "due")
"""A producer asks whether any of them is there before it registers its partitions; it reads nothing of them."""
_PRODUCER_SCRIPTS: Final = frozenset(
    {
        *("enqueue", "watch", "partial", "announce", "register", "schedule"),
        *("enqueue_linked", "follow", "keep_workflows", "whose", "enqueue_keyed"),
    }
)
_WORKER_SCRIPTS: Final = frozenset(
    {
        *("claim", "begin", "complete", "bury", "give_back", "renew", "tick", "quarantine", "repair", "forget_gone"),
        *("timetable", "fire", "staff", "report", "enter", "who"),
        *("outgoing", "deliver", "sent", "handed", "sleep", "forget_handed"),
        *("admit", "leave", "hold", "book", "unbook", "stall", "park", "hurry", "pause", "resume", "pauses"),
        *("withdraw", "shelve"),
    }
)
_ONLY_WITHIN_META: Final = frozenset({"hdel"})
"""What a producer calls to be let in by a full server, and must not call on tasks."""
_ASKS_THE_REGISTER: Final = frozenset({"hlen", "hget"})
"""What ``register`` calls for somebody who only asks how many partitions there are."""
_AUDITOR_SCRIPTS: Final = frozenset(
    {"survey", "scan", "peek", "entries", "lost_results", "put_aside", "look_up", "who", "counts", "list_ids"}
    | {"pauses", "explain", "queueing"}
)
_OPERATOR_SCRIPTS: Final = frozenset(
    {
        *("abort", "revive", "forget", "readmit", "destroy", "reseal", "watch", "partial", "forget_notes"),
        *("register", "shrink", "timetable", "unschedule", "pause", "resume", "withdraw"),
    }
)

RIGHTS: Final = {
    Role.PRODUCER: Rights(
        _PRODUCER_SCRIPTS,
        frozenset({"subscribe", "info"}),
        _PRODUCER_KINDS,
        asked_for=_SIGNS_OF_USE,
        channels=True,
        waits_for_copies=True,
    ),
    Role.WORKER: Rights(
        _PRODUCER_SCRIPTS | _WORKER_SCRIPTS,
        frozenset({"subscribe", "info", "bzpopmin"}),
        _PRODUCER_KINDS + _WORKER_KINDS,
        channels=True,
        waits_for_copies=True,
        appends_to_audit=True,
    ),
    Role.AUDITOR: Rights(_AUDITOR_SCRIPTS, frozenset({"scan", "lrange", "info"}) | _ASKS_THE_REGISTER, ("",)),
    Role.DASHBOARD: Rights(
        frozenset({"counts", "list_ids", "who", "pauses"}),
        frozenset({"info"}) | _ASKS_THE_REGISTER,
        (
            *("meta", "config", "leases", "results", "dead", "quarantine", "workers", "ready", "due", "lines"),
            *("presence", "present", "paused", "shelf"),
        ),
    ),
    Role.OPERATOR: Rights(
        _AUDITOR_SCRIPTS | _OPERATOR_SCRIPTS,
        frozenset({"scan", "lrange", "subscribe", "info"}),
        ("",),
        channels=True,
        appends_to_audit=True,
    ),
}


def rule(role: Role, keys: QueueKeys, dialect: Dialect, *, user: str, password: str, cluster: bool) -> str:
    """The words after ``ACL SETUSER`` that make *user* able to do the work of *role* on one queue, and no other.

    *password* is ``>clear`` or ``#digest``.
    """
    rights = RIGHTS[role]
    connection = (*_CONNECTION, *_NEWER, *(_CLUSTER if cluster else ()))
    words = [user, "on", password, "resetkeys", "resetchannels", "-@all", *(f"+{name}" for name in connection)]
    within = _ONLY_WITHIN_META if role is Role.PRODUCER else frozenset[str]()
    words += [f"+{name}" for name in sorted((rights.commands | commands_of(rights.scripts)) - within)]
    words += [f"~{keys.pattern(kind).decode()}" for kind in rights.kinds]
    if rights.waits_for_copies:
        words += ["+wait", "+waitaof"]
    if rights.channels:
        words.append(f"&{keys.pattern('done').decode()}")
    words += [f"(+{name} ~{keys.pattern('meta').decode()})" for name in within]
    if rights.asked_for:
        words.append(f"(+exists {' '.join(f'%R~{keys.pattern(kind).decode()}' for kind in rights.asked_for)})")
    if rights.appends_to_audit:
        words.append(f"(+rpush %W~{keys.pattern('audit').decode()})")
    return for_server(" ".join(words), dialect)


def for_server(rule: str, dialect: Dialect) -> str:
    """The same rule in the words that the server knows.

    One without selectors gives the commands in them on all keys of the rule, and all its commands on the keys in them.
    """
    if dialect is not Dialect.REDIS_7_2:
        rule = _TOO_NEW.sub("", rule)
    return rule if dialect.has_selectors else _SELECTOR.sub(lambda found: _BITS.sub("~", found[1]), rule)


def commands_of(scripts: Iterable[str]) -> frozenset[str]:
    """The commands that these scripts and what they use of the prelude call, in lower case."""
    return frozenset(word.lower() for name in scripts for word in _commands(name))


@cache
def _commands(script: str) -> frozenset[str]:
    return frozenset(_QUOTED.findall(without_comments(load(script).source))) - _OPTIONS
