"""What ``secure-queue up`` shows: a live table on a terminal, lines for files and pipes, JSON for machines."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.live import Live
from rich.table import Table

from secure_queue.cli.output import say, show, table
from secure_queue.local.groups import Group
from secure_queue.local.plan import Kind
from secure_queue.local.survey import DOWN, SENTINEL, NodeState

ADVICE = "Ctrl-C ends it."


class View:
    """Shows the state of *group* whenever it is told one; this one says in lines what has changed."""

    def __init__(self, kind: Kind, group: Group, folder: Path | None) -> None:
        self._kind = kind
        self._group = group
        self._folder = folder
        self._known: list[NodeState] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to be done."""

    @property
    def all_are_down(self) -> bool:
        """Whether no process is left."""
        return bool(self._known) and all(state.role == DOWN for state in self._known)

    def update(self, states: Sequence[NodeState]) -> None:
        """Show what is new; keys and memory are no news."""
        before, self._known = self._known, list(states)
        if not before:
            self.begin()
        elif changed := [new for old, new in zip(before, states, strict=True) if _news(old) != _news(new)]:
            self.tell(changed)

    def begin(self) -> None:
        """Say where it is, and how it is now."""
        say(_url_line(self._group.url))
        show(_table(self._known))
        say(_advice(self._folder))
        sys.stdout.flush()

    def tell(self, changed: Sequence[NodeState]) -> None:
        """Say what has changed."""
        for state in changed:
            say(f"{state.name} ({state.port}): {state.role} {state.link}".rstrip())
        sys.stdout.flush()


class JsonView(View):
    """One JSON object in a line for the start, and one for each change."""

    def begin(self) -> None:
        facts = {"topology": self._kind.value, "url": self._group.url, "folder": str(self._group.folder)}
        self._say({"event": "up", **facts, "nodes": [asdict(state) for state in self._known]})

    def tell(self, changed: Sequence[NodeState]) -> None:
        self._say({"event": "change", "nodes": [asdict(state) for state in changed]})

    def _say(self, value: dict[str, Any]) -> None:
        say(json_module.dumps(value))
        sys.stdout.flush()


class LiveView(View):
    """A table that is always up to date; the URL stands above it, whole, so that it can be copied."""

    def __init__(self, kind: Kind, group: Group, folder: Path | None) -> None:
        super().__init__(kind, group, folder)
        self._live = Live(auto_refresh=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, states: Sequence[NodeState]) -> None:
        if not self._known:
            say(_url_line(self._group.url))
            say(_advice(self._folder))
            self._live.start()
        self._known = list(states)
        self._live.update(_table(states), refresh=True)


def view_for(kind: Kind, group: Group, folder: Path | None, *, json: bool) -> View:
    """The view that suits whoever looks."""
    if json:
        return JsonView(kind, group, folder)
    return (LiveView if sys.stdout.isatty() else View)(kind, group, folder)


def _url_line(url: str) -> str:
    return f"export SECURE_QUEUE_URL='{url}'"


def _advice(folder: Path | None) -> str:
    kept = f"The data stays in {folder}." if folder else "The data goes then; --folder keeps it."
    return f"{ADVICE} {kept}"


def _news(state: NodeState) -> tuple[str, str]:
    return state.role, state.link


def _table(states: Sequence[NodeState]) -> Table:
    made = table("", "node", "port", "role", "link", "keys", "memory", "pid")
    for state in states:
        holds = state.role not in (SENTINEL, DOWN)
        keys, memory = (f"{state.keys:,}", f"{state.memory / 1e6:.1f} MB") if holds else ("", "")
        made.add_row(state.name, str(state.port), state.role, state.link, keys, memory, str(state.pid or ""))
    return made
