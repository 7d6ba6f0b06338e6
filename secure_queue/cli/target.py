"""Finds the worker object that ``module:object`` names, and opens it for one question."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar

import anyio
import typer

from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.names import printable
from secure_queue.worker import Worker

R = TypeVar("R")

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="The worker object, as module:object; the module is looked for in the current folder first.",
    ),
]


def load_target(target: str) -> Worker[Any]:
    """Import the module and take the object; raises ``ConfigurationError`` that says what to do."""
    name, colon, attribute = target.partition(":")
    if not (name and colon and attribute):
        raise ConfigurationError(f"{printable(target)!r} is no target; write module:object, for example app:worker")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = _attribute(_imported(name), attribute, target)
    if not isinstance(found, Worker):
        raise ConfigurationError(f"{target} is a {type(found).__name__} and no Worker; name the Worker object")
    return found


def ask(target: str, question: Callable[[Worker[Any]], Awaitable[R]], *, patience_s: float | None = None) -> R:
    """Open the worker object as a producer does, and have *question* answered; ``TimeoutError`` if that takes longer."""
    worker = load_target(target)
    worker.announces = False

    async def answer() -> R:
        with anyio.fail_after(patience_s):
            async with worker:
                return await question(worker)

    return anyio.run(answer, backend=worker.anyio_backend, backend_options=worker.anyio_kwargs)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SecureQueueError as error:
        raise ConfigurationError(f"importing {name} failed: {error}") from error
    except (Exception, SystemExit) as error:  # the module is code of the application
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"there is no module {error.name!r} here; run this in the folder that holds it, or install it"
            ) from error
        what = f"{type(error).__name__}: {printable(str(error))}{_where(error, name)}"
        raise ConfigurationError(f"importing {name} failed with {what}; repair the module") from error


def _where(error: BaseException, name: str) -> str:
    """The line of the module that failed, as far as it is known."""
    if isinstance(error, SyntaxError):
        return ""  # its own text says where
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def _attribute(module: ModuleType, path: str, target: str) -> Any:
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = [name for name, value in vars(module).items() if isinstance(value, Worker)]
            others = f"; it has: {', '.join(known)}" if known else ""
            raise ConfigurationError(f"{target}: the module {module.__name__} has no {path!r}{others}") from None
        except Exception as error:  # a property is code of the application
            raise ConfigurationError(
                f"{target} cannot be read: {type(error).__name__}: {printable(str(error))}"
            ) from error
    return found
