"""Reads ``lua/*.lua`` once and checks that each script carries its contract.

A script begins with a header of comments: one line of purpose (``-- name: what it does.``), ``-- KEYS``, ``-- ARGV`` and
``-- Returns``. A file without it is refused at import. What several of them must agree on stands in ``_prelude.lua``, and
before each script that part of it which the script uses: a server makes every function anew for every call, and all of
them took it longer than the rest of a small script (30 of 60 us).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from secure_queue.errors import ConfigurationError

_HEADER_MARKS: Final = ("-- KEYS", "-- ARGV", "-- Returns")
_COMMENT: Final = re.compile(r"--[^\n]*")
_NAME: Final = re.compile(r"\b[A-Za-z_]\w*\b")
_DEFINITION: Final = re.compile(r"^local (?:function )?(\w+(?:, \w+)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script: its name, its whole source and the SHA-1 under which the server caches it."""

    name: str
    source: str
    sha: str


@cache
def load(name: str) -> Script:
    """The script ``lua/<name>.lua`` behind what it needs; raises ``ConfigurationError`` if its header is missing."""
    body = _read(name)
    check_header(name, body)
    source = prelude_for(body) + body
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def prelude_for(body: str) -> str:
    """Those definitions of the prelude, in their order, that *body* uses or that are used by one of them."""
    used, kept = _names_in(body), list[str]()
    for names, text in reversed(_definitions()):
        if used & names:
            used |= _names_in(text)
            kept.insert(0, text)
    return "".join(kept)


@cache
def _definitions() -> tuple[tuple[set[str], str], ...]:
    """What each top-level definition of the prelude defines, and its text; one can use only those that come before it."""
    text = without_comments(_read("_prelude"))
    found = list(_DEFINITION.finditer(text))
    ends = [*(one.start() for one in found[1:]), len(text)]
    return tuple((set(one[1].split(", ")), text[one.start() : end]) for one, end in zip(found, ends, strict=True))


def without_comments(source: str) -> str:
    """The code of a script alone."""
    return _COMMENT.sub("", source)


def _names_in(source: str) -> set[str]:
    return set(_NAME.findall(without_comments(source)))


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
