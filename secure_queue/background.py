"""Runs something in the background for the time of a context, whose own errors come out as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio


@asynccontextmanager
async def beside(*functions: Callable[[], Coroutine[Any, Any, object]]) -> AsyncIterator[None]:
    """Run *functions* beside the body, and cancel them at its end."""
    problem: Exception | None = None
    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(function)
        try:
            yield
        except Exception as error:  # kept out of the group, which would wrap it
            problem = error
        group.cancel_scope.cancel()
    if problem is not None:
        raise problem
