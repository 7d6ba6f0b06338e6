"""Reads ``lua/*.lua`` once and checks that each script carries its contract.

A script begins with a header of comments: one line of purpose (``-- name: what it does.``), ``-- KEYS``, ``-- ARGV`` and
``-- Returns``. A file without it is refused at import. Every script is preceded by ``_prelude.lua``, which holds the two
things that all of them must agree on: the queue's clock and the bucket of a task id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from secure_queue.errors import ConfigurationError

_HEADER_MARKS = ("-- KEYS", "-- ARGV", "-- Returns")


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script: its name, its whole source and the SHA-1 under which the server caches it."""

    name: str
    source: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script ``lua/<name>.lua`` behind the common prelude; raises ``ConfigurationError`` if its header is missing."""
    body = _read(name)
    check_header(name, body)
    source = prelude() + body
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def prelude() -> str:
    """What stands before every script."""
    return _read("_prelude")


def check_header(name: str, source: str) -> None:
    """Raise ``ConfigurationError`` unless *source* begins with the contract of the script *name*."""
    head = [line for line in source.splitlines() if line.startswith("--")]
    missing = [mark for mark in _HEADER_MARKS if not any(line.startswith(mark) for line in head)]
    if not source.startswith(f"-- {name}: ") or missing:
        raise ConfigurationError(
            f"lua/{name}.lua has no complete header; missing: {', '.join(missing) or 'first line'}"
        )


def _read(name: str) -> str:
    return resources.files("secure_queue.redis").joinpath("lua", f"{name}.lua").read_text("utf-8")
