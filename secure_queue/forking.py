"""What a forked process finds in a worker object of its parent: nothing that is open.

``multiprocessing`` forks by default on Linux up to Python 3.13, and so does a ``ProcessPoolExecutor``.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from secure_queue.client import Client
    from secure_queue.execution.engine import Engine


class Forkable:
    """The part of a worker object that a forked process must not share: two processes on one connection mix up answers."""

    _producer: AsyncExitStack | None = None
    _engine: Engine | None = None
    _is_running: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[int, list[Client]] = {}
        _alive.add(self)

    def _leave_to_parent(self) -> None:
        """Be closed here, so that this process opens what it needs."""
        self._producer, self._engine, self._is_running = None, None, False
        self._clients.clear()


_alive: WeakSet[Forkable] = WeakSet()


def _after_fork() -> None:
    for worker in tuple(_alive):
        worker._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
