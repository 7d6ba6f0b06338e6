"""What an application keeps open as long as its worker runs tasks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

from secure_queue.errors import ConfigurationError

C = TypeVar("C")


def made_by(lifespan: Callable[[], AbstractAsyncContextManager[C]]) -> AbstractAsyncContextManager[C]:
    """The context manager that *lifespan* makes; raises ``ConfigurationError`` if it makes something else."""
    made = lifespan()
    if not hasattr(made, "__aenter__"):
        raise ConfigurationError(
            "lifespan= must return an async context manager; decorate it with @asynccontextmanager"
        )
    return made


def no_lifespan() -> AbstractAsyncContextManager[Any]:
    """For applications that keep nothing open."""
    return nullcontext()
