"""Errors that leave without the frames that they came through.

Reports of errors often show the local variables of every frame, and ours hold stored bytes, keys and URLs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from secure_queue.errors import ConfigurationError, Rejected, SecureQueueError

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def configured_without_frames(call: Callable[P, T]) -> Callable[P, T]:
    """*call*, whose ``ConfigurationError`` shows nothing of what was configured."""

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except ConfigurationError as error:
            problem = error
        del args, kwargs
        raise without_frames(problem)

    return guarded


def opened_without_frames(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """*call*, whose ``Rejected`` shows nothing of what did not open."""

    @wraps(call)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except Rejected as error:
            problem = error
        del args, kwargs
        raise without_frames(problem)

    return guarded


async def followed_without_frames(values: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    """*values*, whose errors show nothing of what they were made of."""
    try:
        async with aclosing(values):
            async for value in values:
                yield value
    except SecureQueueError as error:
        raise without_frames(error) from None


def without_frames(error: E) -> E:
    """*error* without the frames that it came through, and without what caused it, which has frames of its own."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
