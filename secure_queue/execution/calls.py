"""How the call of a sync function outside of the event loop can end, beside returning."""

from __future__ import annotations


class NoThread(Exception):
    """No thread or process will be free soon: enough calls wait, the worker stops, or the system has no more."""


class Raised(Exception):
    """What the function raised; it travels as a value, because not every exception survives a future or a coroutine."""

    def __init__(self, problem: BaseException) -> None:
        super().__init__()
        self.problem = problem
