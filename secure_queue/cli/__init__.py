"""The command line ``secure-queue``: one file per noun, and here the way from an error to one line and an exit code.

Exit codes: 0 done, 1 no or not found, 2 it could not be tried (arguments, configuration, server); ``audit``,
``doctor`` and ``demo`` say more about theirs.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import typer

from secure_queue.cli.acl import acl
from secure_queue.cli.audit import audit
from secure_queue.cli.certs import certs
from secure_queue.cli.check import check
from secure_queue.cli.demo import demo
from secure_queue.cli.dlq import dlq
from secure_queue.cli.doctor import doctor
from secure_queue.cli.explain import explain
from secure_queue.cli.graph import graph
from secure_queue.cli.key_parts import public, scope
from secure_queue.cli.keys import keys
from secure_queue.cli.output import fail, hint
from secure_queue.cli.partitions import partitions
from secure_queue.cli.pauses import pause, resume
from secure_queue.cli.run import run
from secure_queue.cli.schedules import schedules
from secure_queue.cli.status import status
from secure_queue.cli.up import up
from secure_queue.cli.users import users
from secure_queue.errors import SecureQueueError, TaskNotFound

__all__ = ["app", "main"]

app = typer.Typer(
    name="secure-queue",
    help="An async task queue whose payloads are signed and verified before use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those hold payloads
    rich_markup_mode=None,
)
app.command()(run)
app.command()(demo)
keys.command()(public)
keys.command()(scope)
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
app.command()(doctor)
app.command()(status)
app.command()(check)
app.command()(partitions)
app.command()(graph)
app.command()(explain)
app.command()(pause)
app.command()(resume)
app.command()(acl)
app.add_typer(dlq, name="dlq")
app.add_typer(schedules, name="schedules")
app.command()(up)
app.command()(certs)
app.command()(users)


def main() -> None:
    """Run the command that the arguments name; errors of this library become one line, never a traceback."""
    try:
        code = app(prog_name="secure-queue", standalone_mode=False)
    except SecureQueueError as error:
        fail(str(error), 1 if isinstance(error, TaskNotFound) else 2)
    except typer.Abort:
        fail("nothing was done", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer brings its own click, or finds one: no common class to catch
            raise
        _fail_usage(error)
    sys.exit(code if isinstance(code, int) else 0)


def _fail_usage(error: Any) -> NoReturn:
    """Arguments that cannot be understood: one line, or the help where there were none at all."""
    message = error.format_message()
    if message.startswith("Usage:"):
        hint(message)
        sys.exit(2)
    context = getattr(error, "ctx", None)
    fail(f"{message} See `{context.command_path if context else 'secure-queue'} --help`.", 2)
