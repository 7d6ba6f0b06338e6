"""``TestWorker``: a worker object under test, with its tasks, its keys and its serializer, and another server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.redis.connect import LinkKinds
from secure_queue.redis.urls import parse_url
from secure_queue.settings import positive_seconds, whole_number
from secure_queue.storage import Storages
from secure_queue.surroundings import replacements
from secure_queue.tasks import RegisteredTask, Task, current_run
from secure_queue.testing.driving import Driver
from secure_queue.testing.enqueued import Enqueued, Log
from secure_queue.testing.faults import Faults
from secure_queue.testing.links import BreakableMemoryLink, BreakableServerLink
from secure_queue.testing.seams import (
    OWN,
    Overrides,
    codec_of,
    in_memory_instead,
    partitions_of,
    producer_of,
    replaced,
    settings_of,
)
from secure_queue.testing.stopped_clock import StoppedClock, duration_ms
from secure_queue.worker import Worker

MOST_TASKS = 1_000_000
PATIENCE_S, PATIENCE_WITH_A_SERVER_S = 1.0, 5.0
"""For how long a call is repeated: no fault heals by itself, but a real server may be slow."""


class TestWorker:
    """Puts *worker* into memory for the time of an ``async with``, with a clock that stands still; nothing runs by itself.

    *now* is when the clock begins (else the real time), *clock* one that several share. *context* stands for what
    ``lifespan`` yields, which is not called then; of *overrides* each value is called in the place of its key where
    ``Depends`` names that. *server*, a URL, has the worker on a real server instead, where time goes on. ``drain`` and the
    like give up after *patience* (real) seconds. Two of them at the same time whose workers name the same server share the
    database.
    """

    __test__ = False  # pytest: not a class of tests

    def __init__(
        self,
        worker: Worker[Any],
        *,
        now: datetime | None = None,
        clock: StoppedClock | None = None,
        context: object = OWN,
        overrides: Overrides | None = None,
        server: str | None = None,
        patience: float = 10,
    ) -> None:
        if not isinstance(worker, Worker):
            raise ConfigurationError(
                "TestWorker takes the worker object of the application, for example TestWorker(worker)"
            )
        if (now is not None) + (clock is not None) + (server is not None) > 1:
            raise ConfigurationError("give one of now=, clock= and server=: a real server has its own clock")
        if clock is not None and not isinstance(clock, StoppedClock):
            raise ConfigurationError("clock= is a StoppedClock that several share; a moment to begin at is now=")
        self.worker = worker
        self.faults = Faults(PATIENCE_S if server is None else PATIENCE_WITH_A_SERVER_S)
        """What goes wrong on the way to the server; nothing, until the test says so."""
        self._clock = clock if clock is not None else None if server is not None else StoppedClock(now)
        self._context = context
        self._overrides = {} if overrides is None else replacements(overrides)
        self._topology = in_memory_instead(worker) if server is None else parse_url(server)
        self.patience = positive_seconds("patience", patience, zero=True)
        """How many real seconds running what is due may take."""
        self._log = Log(codec_of(worker))
        self._open: tuple[Driver, Storages] | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise SecureQueueError("this TestWorker is entered already; make another one")
        kinds = LinkKinds(
            partial(BreakableServerLink, faults=self.faults, log=self._log),
            partial(BreakableMemoryLink, faults=self.faults, log=self._log),
        )
        async with AsyncExitStack() as stack:
            if self._clock is not None:
                stack.enter_context(self._clock.in_force())
            stack.enter_context(replaced(self.worker, self._topology, kinds, self._context, self._overrides))
            storages = await stack.enter_async_context(producer_of(self.worker))
            self._open = Driver(self.worker, storages, self._clock, self._log), storages
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        self._open = None
        return await self._stack.__aexit__(*error)

    @property
    def clock(self) -> StoppedClock:
        """The clock; moving it runs nothing (see ``advance``). Raises ``ConfigurationError`` on a real server."""
        if self._clock is None:
            raise ConfigurationError("a real server has its own clock, which no test can move; use memory for that")
        return self._clock

    # Running

    async def drain(self) -> dict[str, int]:
        """Run what is due, and what that enqueues, until nothing is ready; say what was done (completed, failed, …).

        It is a whole life of a worker, lifespan and all, whenever something is ready. Tasks that wait for a later time
        wait on.
        """
        return dict(await self._driving().drain(self.patience))

    async def advance(self, delta: float | timedelta | None = None, **units: float) -> dict[str, int]:
        """Let time pass: by seconds, a timedelta, or what makes one (``hours=1``).

        Each task and each firing of a schedule runs when the clock stands at its moment. What was done is returned.
        """
        return dict(await self._driving().advance_to(self.clock.now_ms + duration_ms(delta, units), self.patience))

    async def advance_to(self, moment: datetime) -> dict[str, int]:
        """Let time pass until *moment*, an aware datetime."""
        target = StoppedClock(moment)
        return dict(await self._driving().advance_to(target.now_ms, self.patience))

    async def finish(self) -> dict[str, int]:
        """Run everything to its end: time passes until no task waits for its delay or for another try.

        Schedules fire meanwhile, and are not waited for.
        """
        return dict(await self._driving().finish(self.patience))

    @contextmanager
    def inline(self) -> Iterator[None]:
        """Let an enqueue from outside of tasks return when nothing is ready any more: its task has been run then.

        It goes the whole way all the same: sealed, stored, claimed, verified, opened, run, settled.
        """
        worker, driver = self.worker, self._driving()
        plain = worker.enqueue_many
        if "enqueue_many" in vars(worker):  # it is inline already
            yield
            return

        async def enqueue_many(tasks: Any) -> None:
            await plain(tasks)
            if not _inside_a_task():
                await driver.drain(self.patience)

        worker.enqueue_many = enqueue_many  # type: ignore[method-assign]  # of this object alone, for the time of a context
        try:
            yield
        finally:
            del worker.enqueue_many

    async def lose_worker(self, tasks: int = 1) -> list[str]:
        """Let a worker claim up to so many ready tasks of each partition and vanish; the ids.

        They are running, as far as anybody knows, until their leases (``idle_timeout``) have run out.
        """
        whole_number("tasks", tasks, MOST_TASKS)
        storages, lost = self._opened()[1], list[str]()
        lease_ms = round(settings_of(self.worker).idle_timeout_s * 1000)
        for partition in await partitions_of(self.worker):
            name = f"lost-{os.urandom(4).hex()}"
            _, claims = await storages.at(partition).claim(name, f"{name}.1".encode(), tasks, lease_ms)
            lost += [claim.untrusted_id.decode() for claim in claims]
        return lost

    # What was enqueued

    @property
    def enqueued(self) -> list[Enqueued]:
        """All tasks that have reached the queue since the beginning, in order: by the test, by tasks, by schedules."""
        return list(self._log.entries)

    def assert_enqueued(self, task: Task[Any], *, times: int | None = None) -> Enqueued:
        """Fail unless this call was enqueued: ``assert_enqueued(send.enqueue(7).start(delay=60))``; return the first.

        Function and arguments must be the same, and delay, moment, priority, id, headers, ``max_tries``, ``timeout`` and
        ``ttl`` as far as the handle says them; so many *times* exactly, if that is given. The handle itself is not enqueued.
        """
        if not isinstance(task, Task):
            raise ConfigurationError(
                "assert_enqueued takes a call as the application makes it, for example send.enqueue(7)"
            )
        if times is not None:
            whole_number("times", times, MOST_TASKS)
        found = self._log.like(task, self._function_of(task.fn_name))
        if not found or times not in (None, len(found)):
            wanted = "" if times is None else f", and not {times} times"
            raise AssertionError(
                f"such a call of {task.fn_name} was enqueued {len(found)} times{wanted}; {self._all()}"
            )
        return found[0]

    def assert_not_enqueued(self, task: RegisteredTask[..., Any, Any]) -> None:
        """Fail if *task* was enqueued, with whatever arguments."""
        if not isinstance(task, RegisteredTask):
            raise ConfigurationError("assert_not_enqueued takes a task, for example send; it looks at no arguments")
        if any(entry.fn_name == task.fn_name for entry in self._log.entries):
            raise AssertionError(f"{task.fn_name} was not to be enqueued; {self._all()}")

    def assert_nothing_enqueued(self) -> None:
        """Fail if anything was enqueued."""
        if self._log.entries:
            raise AssertionError(f"nothing was to be enqueued; {self._all()}")

    def forget_enqueued(self) -> None:
        """Begin anew to note what is enqueued; the tasks themselves stay."""
        self._log.entries.clear()

    def _all(self) -> str:
        lines = [f"\n  {entry}" for entry in self._log.entries]
        return f"enqueued: {''.join(lines) or 'nothing'}"

    def _function_of(self, name: str) -> Any:
        task = self.worker.registry.get(name)
        return None if task is None else task.fn

    def _driving(self) -> Driver:
        if _inside_a_task():
            raise SecureQueueError("a task cannot run the queue that it runs in; drain it from the test")
        return self._opened()[0]

    def _opened(self) -> tuple[Driver, Storages]:
        if self._open is None:
            raise SecureQueueError(
                "this TestWorker is not open; use it inside `async with TestWorker(worker) as queue:`"
            )
        return self._open


def _inside_a_task() -> bool:
    try:
        current_run.get().context()
    except LookupError:
        return False
    return True
