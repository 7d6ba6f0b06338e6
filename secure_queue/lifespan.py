"""What an application keeps open as long as its worker runs tasks, and what it does before and after that."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from secure_queue.errors import ConfigurationError

C = TypeVar("C")


def lifespan_of(given: object) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """What ``lifespan=`` says; raises ``ConfigurationError`` for what cannot be called."""
    if given is None:
        return no_lifespan
    if not callable(given) or hasattr(given, "__aenter__"):
        raise ConfigurationError(
            "lifespan= is a function that returns an async context manager; decorate it with @asynccontextmanager, and pass "
            "it without calling it"
        )
    return given


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


@asynccontextmanager
async def begun(
    startup: Sequence[Callable[..., object]], shutdown: Sequence[Callable[..., object]], state: dict[str, Any]
) -> AsyncIterator[None]:
    """Call the hooks of *startup* in their order and at the end those of *shutdown*, the last one first.

    All of *shutdown* are called, also when one of them or of *startup* has failed. A hook that takes an argument is given
    *state*, which is emptied at the end.
    """
    async with AsyncExitStack() as stack:
        stack.callback(state.clear)
        for hook in shutdown:
            stack.push_async_callback(partial(_call, hook, state))
        for hook in startup:
            await _call(hook, state)
        yield


async def _call(hook: Callable[..., object], state: dict[str, Any]) -> None:
    result = hook(state) if _takes_an_argument(hook) else hook()
    if inspect.isawaitable(result):
        await result


def _takes_an_argument(hook: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not tell
        return False
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(one.default is one.empty and one.kind in by_position for one in parameters)
