"""How the command line speaks: results on stdout, all else on stderr, stored text escaped and never read as markup."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from secure_queue.names import printable

PLAIN_WIDTH = 160
LONGEST_LINE = 400


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on stderr and end with an exit code."""
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)


def hint(message: str) -> None:
    """Tell people something that is not the result."""
    typer.echo(message, err=True)


def say(text: str) -> None:
    """A line of the result."""
    typer.echo(text)


def say_json(value: Any) -> None:
    """The result as one JSON object."""
    typer.echo(json.dumps(value, indent=2))


def show(renderable: RenderableType) -> None:
    """A table; as wide as the terminal, or wide enough for files and pipes."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(highlight=False, markup=False, emoji=False, width=width).print(renderable)


def table(title: str, *columns: str) -> Table:
    """An empty table."""
    made = Table(title=Text(title), title_justify="left")
    for column in columns:
        made.add_column(Text(column), overflow="fold")
    return made


def escaped_lines(text: str) -> str:
    """Text from the queue that may have several lines; each is escaped and cut on its own."""
    return "\n".join(printable(line, LONGEST_LINE) for line in text.splitlines())
