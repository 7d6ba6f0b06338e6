"""Composes the parts that run tasks: seats, lanes and heartbeat, and winds them down in order.

The order of an end: no more claims; what no seat has taken is handed back; running tasks have their grace period; what
is left is cancelled and handed back without using a try; everything is settled; then the lease thread stops.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from functools import partial

import anyio
from anyio.abc import TaskGroup

from secure_queue.clock import monotonic
from secure_queue.declare_schedules import Declared
from secure_queue.durability import AT_PRIMARY, Assurance
from secure_queue.execution.admission import Admission
from secure_queue.execution.alone import Alone
from secure_queue.execution.dependents import TIDY_S, Dependents
from secure_queue.execution.executor import Executor, Registry
from secure_queue.execution.finished import Finished
from secure_queue.execution.gates import Gates
from secure_queue.execution.heartbeat import Heartbeat
from secure_queue.execution.journal import Journal
from secure_queue.execution.lanes import Lanes
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.pauses import LOOK_S as PAUSES_S
from secure_queue.execution.processes import Processes
from secure_queue.execution.recycling import Recycling
from secure_queue.execution.refusal import Refusals
from secure_queue.execution.replays import Replays
from secure_queue.execution.reporting import Reporting
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.scheduler import LOOK_S, Scheduler
from secure_queue.execution.seat import Breath, Seat
from secure_queue.execution.settling import Settling
from secure_queue.execution.sharing import Share
from secure_queue.execution.shutdown import Signals
from secure_queue.execution.threads import Threads
from secure_queue.execution.ticker import every
from secure_queue.execution.verdict import ShutDown
from secure_queue.names import printable
from secure_queue.payload.codec import Codec
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.settings import QueueSettings, WorkerSettings, environment_of_processes
from secure_queue.storage import Storages

PULSE_S = 0.25
JOURNAL_S = 1.0
DRAIN, STOP = 1, 2  # as many requests, or signals, as that takes
CANCEL_S = 5.0
FLUSH_S = 10.0

_log = logging.getLogger("secure_queue.worker")


class Engine:
    """Runs the tasks of one queue until it is told to stop."""

    def __init__(
        self,
        storages: Storages,
        open_storages: Callable[[], AbstractAsyncContextManager[Storages]],
        codec: Codec,
        registry: Registry,
        queue: QueueSettings,
        settings: WorkerSettings,
        declared_schedules: Mapping[str, Declared],
        *,
        burst: bool = False,
        signals: Signals,
        on_hangup: Callable[[], object],
        journal: Journal,
        when_stuck: Callable[[], None],
        assurance: Assurance = AT_PRIMARY,
        most_tasks: int | None = None,
        most_mib: int | None = None,
        share: Share | None = None,
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._on_hangup = on_hangup
        self._when_stuck = when_stuck
        self.desk = Desk(most_tasks, share)
        self.recycling = Recycling(self.desk, most_mib)
        self.has_done_enough = False
        outboxes: dict[int, Outbox] = {}
        self._settling = Settling(codec, self.desk, outboxes, settings.worker_id, redact=settings.redact_failures)
        self.reporting = Reporting(codec, outboxes)
        self._journal = journal
        self._threads = Threads(settings.sync_concurrency, patient=burst)
        refusals = Refusals(outboxes, self.desk, journal)
        finished = Finished()
        new_outbox = partial(Outbox, self.desk, queue.priorities, finished, refusals.remember)
        replays = Replays(storages, codec, self._settling, refusals, finished)
        self._dependents = Dependents(storages, codec, self.desk, outboxes, self._settling)
        self._gates = gates = Gates(storages, outboxes, self.desk, self._settling, settings)
        self._admission = Admission(storages, outboxes, gates, self.desk, self._settling, queue, settings)
        self._processes = Processes(settings.process_concurrency, _environment_of_processes, patient=burst)
        decide = self._dependents, self._admission, Alone(storages, self._gates, self._settling, queue, settings)
        parts = self._settling, refusals, replays, self._threads, self._processes, self.reporting, *decide
        self._executor = Executor(codec, registry, settings, self.desk, *parts)
        self._heartbeat = Heartbeat(open_storages, self.desk, round(settings.idle_timeout_s * 1000))
        self._lanes = Lanes(
            storages,
            codec,
            queue,
            settings,
            self.desk,
            outboxes,
            self._settling,
            self._heartbeat,
            new_outbox,
            journal,
            partial(self.ask, DRAIN) if burst else None,
            assurance,
            lambda: self._gates.at_rest,
        )
        self._scheduler = Scheduler(storages.at(0), codec, declared_schedules, self.desk, queue)
        self._thread = threading.get_ident()
        self._asked = 0
        self._draining = anyio.Event()
        self._stopping = anyio.Event()

    def ailments(self) -> tuple[list[str], bool]:
        """What is not as it should be, and whether tasks are claimed in spite of it."""
        silent = self._lanes.silent()
        told = [f"the server of partition {partition} does not answer" for partition in silent]
        if not self._heartbeat.is_fresh:
            told.append("the heartbeat is late")
        if self._draining.is_set():
            told.append("it is stopping")
        claims = len(silent) < self._lanes.count and self._heartbeat.is_fresh and not self._draining.is_set()
        return told, claims

    def ask(self, wish: int) -> None:
        """``DRAIN``: stop in peace, running tasks have their grace period; ``STOP``: now. From any thread."""
        self._asked = max(self._asked, wish)
        if threading.get_ident() == self._thread:
            self._obey()

    def _obey(self) -> None:
        if self._asked >= DRAIN:
            self._draining.set()
        if self._asked >= STOP:
            self._stopping.set()

    @property
    def left_behind(self) -> int:
        """How many sync functions go on in threads that nobody waits for."""
        return self._threads.left_behind

    async def run(self) -> None:
        """Work until it is asked to end, by a signal too if there are any."""
        async with self._heartbeat.beating(), self._processes, anyio.create_task_group() as background:
            await background.start(self._gates.run)
            await self._admission.open()
            await self._lanes.open(background)
            self._gates.key_partitions = self._lanes.key_partitions
            background.start_soon(every, LOOK_S, self._scheduler.tick)
            background.start_soon(every, PULSE_S, self._pulse)
            background.start_soon(every, JOURNAL_S, self._journal.flush)
            background.start_soon(every, TIDY_S, self._dependents.tidy)
            background.start_soon(every, PAUSES_S, self._admission.look)
            self._threads.serve(background)
            await self._work()
            await self._flush()
            background.cancel_scope.cancel()
        _log.info("worker %s has stopped: %s", self._settings.worker_id, dict(self.desk.counters))
        if self.left_behind:
            _log.warning("%d sync tasks outlived their time and go on in their threads", self.left_behind)

    async def _flush(self) -> None:
        with anyio.move_on_after(FLUSH_S) as scope:
            await self._lanes.drain()
            await self._gates.drain()
            await self._journal.flush()
        if scope.cancelled_caught and self.desk.held:
            _log.error("%d runs could not be settled before the end; they run again", len(self.desk.held))

    async def _pulse(self) -> None:
        self._heartbeat.pulse = monotonic()
        if self._asked < min(self._signals.received, STOP):
            _log.info("received %s", self._signals.last)
            self.ask(min(self._signals.received, STOP))
        if self._signals.take_hangups():
            _log.info("received SIGHUP, looking at the key file")
            self._on_hangup()
        if self.recycling.is_due and not self._asked:
            self.has_done_enough = True
            _log.info("worker %s has done enough: %d tasks", self._settings.worker_id, self.desk.processed)
            self.ask(DRAIN)
        self._obey()
        self._lanes.return_surplus()

    async def _work(self) -> None:
        _log.info("worker %s starts with %d seats", self._settings.worker_id, self._settings.concurrency)
        async with anyio.create_task_group() as seats:
            breath = Breath()
            for _ in range(self._settings.concurrency):
                seats.start_soon(self._keep_seat, seats, breath, copy_context())
            await self._lanes.fetch_until(self._draining)
            await self._gates.close()
            await self._lanes.take_in_the_last_claims()
            self._hand_back_waiting()
            self._threads.close()
            self._processes.close()
            await self._wind_down()
            seats.cancel_scope.cancel()

    async def _keep_seat(self, seats: TaskGroup, breath: Breath, clean: Context) -> None:
        """Fill one seat; when a task has left its mark on it, with a new one in a clean context."""
        await Seat(self.desk, self._executor, self._settling, breath).work()
        clean.copy().run(seats.start_soon, self._keep_seat, seats, breath, clean)

    def _hand_back_waiting(self) -> None:
        for run in self.desk.take_back():
            self._settling.hand_back(run)

    async def _wind_down(self) -> None:
        """Give running tasks their time, then cancel them."""
        with anyio.move_on_after(self._settings.grace_period_s):
            async with anyio.create_task_group() as race:
                race.start_soon(self._until_stopping, race)
                await self.desk.until_nothing_runs()
                race.cancel_scope.cancel()
        for run in list(self.desk.running):
            run.interrupt(ShutDown())
        with anyio.move_on_after(CANCEL_S):
            await self.desk.until_nothing_runs()
            return
        await self._give_up_on(list(self.desk.running))

    async def _give_up_on(self, stubborn: list[Run]) -> None:
        """Hand back tasks that do not let themselves be cancelled; nothing but the end of the process stops them."""
        for run in stubborn:
            _log.error(
                "task %s (%s) ignores its cancellation", *map(printable, (run.genuine.task_id, run.genuine.function))
            )
            self._settling.hand_back(run)
        await self._flush()
        self._when_stuck()

    async def _until_stopping(self, race: TaskGroup) -> None:
        await self._stopping.wait()
        race.cancel_scope.cancel()


def _environment_of_processes() -> dict[str, str]:
    return environment_of_processes(format_key(generate_key("throwaway")))
