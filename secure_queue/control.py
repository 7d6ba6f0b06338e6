"""Tells a worker object how to run, asks it to stop, and says what it has done."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from secure_queue.collector import calm_collector
from secure_queue.errors import SecureQueueError
from secure_queue.execution.engine import DRAIN, STOP
from secure_queue.execution.runs import ENDS, Run
from secure_queue.execution.sharing import Share
from secure_queue.forking import Forkable
from secure_queue.health import Health, tell_health
from secure_queue.settings import WorkerSettings, with_concurrency
from secure_queue.tasks import current_run


@dataclass(frozen=True, slots=True)
class RunReport:
    """What came of one ``run_async``."""

    processed: int
    """How many tries of tasks came to their end here: done, failed, to be tried again, or aborted."""
    has_done_enough: bool
    """Whether it ended because of ``messages_limit`` or ``memory_limit``."""


class Control(Forkable):
    """The part of a worker object that stands beside its run."""

    when_stuck: Callable[[], None] = staticmethod(lambda: None)
    """Called at the end when tasks ignore their cancellation; the command line ends the process then."""
    left_behind: int = 0
    """How many sync tasks outlived the last run in their threads; a process ends only after they have ended."""
    burst: bool = False
    """Whether ``run_async`` ends when the queue is empty; the command line sets it for ``--burst``."""
    messages_limit: int | None = None
    """After how many tasks a run ends in peace; None: never. The command line sets it for ``--max-tasks``."""
    memory_limit: int | None = None
    """With how many MiB of memory a run ends in peace; None: never. The command line sets it for ``--max-memory``."""
    share: Share | None = None
    """What this worker may take of seats that it shares with others; ``serve`` sets it."""
    announces: bool = True
    """Whether ``keys status`` shows this process; the command line, which only asks, does not want to be shown."""
    anyio_backend: str
    anyio_kwargs: dict[str, Any]

    _settings: WorkerSettings
    _has_done_enough: bool = False
    _asked: int = 0

    def __init__(self) -> None:
        super().__init__()
        self._counters: Counter[str] = Counter()
        self._storage_counters: Counter[str] = Counter()

    @property
    @abstractmethod
    def queue_name(self) -> str: ...

    @abstractmethod
    async def run_async(self) -> RunReport:
        """See ``Worker``."""

    @property
    def concurrency(self) -> int:
        """How many tasks run at once; a change counts from the next ``run_async`` on."""
        return self._settings.concurrency

    @concurrency.setter
    def concurrency(self, seats: int) -> None:
        self._settings = with_concurrency(self._settings, seats)

    def run_sync(self) -> RunReport:
        """Run tasks until a signal (or the end of a burst); blocks. Uses ``anyio_backend`` and ``anyio_kwargs``.

        In the main thread it takes the process for its own: the garbage collector leaves out what was there before.
        """
        with calm_collector():
            return anyio.run(self.run_async, backend=self.anyio_backend, backend_options=self.anyio_kwargs)

    def drain(self) -> None:
        """Ask a running worker to stop in peace: running tasks have their ``grace_period``, the others are handed back.

        From any thread; from another one than the worker's it takes up to a quarter of a second.
        """
        self._ask(DRAIN)

    def stop(self) -> None:
        """Ask a running worker to stop now: running tasks are cancelled and handed back without using a try."""
        self._ask(STOP)

    def _run_settings(self) -> WorkerSettings:
        return self._settings if self.share is None else with_concurrency(self._settings, self.share.seats.seats)

    def _ask(self, wish: int) -> None:
        if not self._is_running:
            return
        self._asked = max(self._asked, wish)
        engine = self._engine
        if engine is not None:
            engine.ask(wish)

    async def report(self, progress: Any) -> None:
        """Say, inside of a task, how far it is; see ``RegisteredTask.report``."""
        run = current_run.get(None)
        if self._engine is None or not isinstance(run, Run):
            raise SecureQueueError("only a running task can report its progress")
        await self._engine.reporting.report(run, progress)

    def health(self) -> Health:
        """Whether this worker claims tasks now, and if not, why."""
        engine = self._engine
        if engine is None:
            return Health(self.queue_name, ("it does not run",), False)
        problems, ready = engine.ailments()
        return Health(self.queue_name, tuple(problems), ready, len(engine.desk.running), self.processed)

    async def tell_health(self, address: str, *, task_status: TaskStatus[int] = TASK_STATUS_IGNORED) -> None:
        """Answer HTTP at *address* (``"127.0.0.1:8080"``) until cancelled: ``GET /health`` and ``GET /ready``.

        ``port = await group.start(worker.tell_health, address)`` returns when it listens.
        """
        await tell_health(address, lambda: [self.health()], task_status=task_status)

    @property
    def processed(self) -> int:
        """How many tries of tasks this run, or the last one, has brought to their end."""
        return sum(self._counters[end] for end in ENDS)

    @property
    def counters(self) -> Mapping[str, int]:
        """What was done so far: completed, failed, retried, aborted, quarantined, degraded, replayed, and so on."""
        return self._counters + self._storage_counters
