"""Runs something in the background for the time of a context, or to its end; errors come out as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def beside(*functions: Callable[[], Coroutine[Any, Any, object]]) -> AsyncIterator[TaskGroup]:
    """Run *functions*, and what else the body starts in the group, beside the body, and cancel them at its end."""
    problem: Exception | None = None
    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(function)
        try:
            yield group
        except Exception as error:  # kept out of the group, which would wrap it
            problem = error
        group.cancel_scope.cancel()
    if problem is not None:
        raise problem


async def to_its_end(work: Callable[[anyio.CancelScope], Awaitable[None]], stop: Callable[[], object]) -> None:
    """Do *work*, which shields the scope that it is given when it should be asked to *stop* instead of cancelled."""
    problems: list[BaseException] = []

    async def shielded(finished: anyio.CancelScope) -> None:
        with anyio.CancelScope() as scope:
            try:
                await work(scope)
            except Exception as error:  # kept out of the group, which would wrap it
                problems.append(error)
        finished.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(shielded, group.cancel_scope)
        try:
            await anyio.sleep_forever()
        finally:
            stop()
    if problems:
        raise _plain(problems[0])


def _plain(error: BaseException) -> BaseException:
    """The one error in a group of one: who catches by meaning should not need to know how many tasks ran."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
