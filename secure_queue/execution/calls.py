"""How the call of a sync function outside of the event loop can end, beside returning."""

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

    def for_the_event_loop(self) -> BaseException:
        """What its middleware is told: the same, unless that would end the event loop, and the worker with it."""
        if not issubclass(type(self.problem), KeyboardInterrupt):
            return self.problem
        failure = describe(self.problem)
        return TaskFailed(failure.type_name, failure.message)
