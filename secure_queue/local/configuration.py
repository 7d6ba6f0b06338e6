"""The text of a server's configuration file: what this process needs, and the rest of a file that is shared."""

from __future__ import annotations

from collections.abc import Mapping


def render(shared: str, own: Mapping[str, str]) -> str:
    """*own* directives, then those of *shared* that say nothing about the same.

    The own ones stand first: a sentinel must be told what it monitors before how.
    """
    lines = [f"{name} {value}" for name, value in own.items()]
    lines += [line for line in map(str.strip, shared.splitlines()) if _is_kept(line, own)]
    return "".join(f"{line}\n" for line in lines)


def _is_kept(line: str, own: Mapping[str, str]) -> bool:
    return bool(line) and not line.startswith("#") and not any(f"{line} ".startswith(f"{name} ") for name in own)
