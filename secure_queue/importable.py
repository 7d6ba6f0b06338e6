"""Names a function so that another process can import it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from secure_queue.errors import ConfigurationError


class Reference(NamedTuple):
    """Where a function stands."""

    module: str
    qualname: str


def reference_of(function: Callable[..., Any]) -> Reference:
    """The place of a sync function at the top level of a module; raises ``ConfigurationError`` for any other.

    A static or a class method is found there too, and the method of an object would be called without it.
    """
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            "process=True is for sync functions; an async one runs in the event loop of the worker"
        )
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    of_an_object = inspect.ismethod(function) and not inspect.isclass(function.__self__)
    if not isinstance(module, str) or not isinstance(qualname, str) or "<" in qualname or of_an_object:
        raise ConfigurationError(
            "process=True: the process imports the function by its name, so define it with def at the top level of a module"
        )
    return Reference(module, qualname)
