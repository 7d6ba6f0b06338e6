"""How the call of a function can end, beside returning, where that must not meet the event loop as it is."""

from __future__ import annotations

from secure_queue.errors import TaskFailed
from secure_queue.payload.failures import describe


class NoThread(Exception):
    """No thread or process will be free soon: enough calls wait, the worker stops, or the system has no more."""


class Raised(Exception):
    """What the function raised; it travels as a value, because not every exception survives a future or a coroutine."""

    def __init__(self, problem: BaseException) -> None:
        super().__init__()
        self.problem = problem


class Leaving(TaskFailed):
    """What middleware is told in the place of an exception that means the whole program.

    asyncio lets ``SystemExit`` and ``KeyboardInterrupt`` of any of its tasks end the event loop, also of one in a task group
    of some middleware; nobody around that could keep the worker alive.
    """

    def __init__(self, problem: BaseException) -> None:
        failure = describe(problem)
        super().__init__(failure.type_name, failure.message)
        self.problem = problem


def as_told(problem: BaseException) -> BaseException:
    """What middleware is told of what a function raised: the same, unless it means the whole program."""
    return Leaving(problem) if issubclass(type(problem), (SystemExit, KeyboardInterrupt)) else problem


def as_raised(told: BaseException) -> BaseException:
    """What the function raised, if middleware lets *told* through, by itself or in the group of a task group."""
    if isinstance(told, BaseExceptionGroup):
        left: BaseException | None = told.subgroup(Leaving)
        while isinstance(left, BaseExceptionGroup):
            left = left.exceptions[0]
        return told if left is None else as_raised(left)
    return told.problem if isinstance(told, Leaving) else told
