"""Runs what is due, moment by moment: a real worker for what is ready, and between its runs the clock is moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from secure_queue.errors import ConfigurationError
from secure_queue.storage import Storages
from secure_queue.testing.enqueued import Log
from secure_queue.testing.seams import counted, one_life, partitions_of, scheduler_of, settings_of
from secure_queue.testing.stopped_clock import StoppedClock
from secure_queue.worker import Worker

GONE_AFTER_MS = 10_000
AT_ONCE = 500
"""So many tasks become ready in one round of the storage at most."""


class Driver:
    """Drives one worker object over its open *storages*; without a *clock* time goes on by itself.

    Raises ``TimeoutError`` if the queue has not come to rest after *patience_s*, at one moment of the clock.
    """

    def __init__(self, worker: Worker[Any], storages: Storages, clock: StoppedClock | None, log: Log) -> None:
        self._worker = worker
        self._storages = storages
        self._clock = clock
        self._log = log
        self._scheduler = scheduler_of(worker, storages)
        self._turn = anyio.Lock()

    async def drain(self, patience_s: float) -> Counter[str]:
        """Run what is due, and what that enqueues, until nothing is ready."""
        async with self._turn:
            return await self._patiently(self._drain, patience_s)

    async def advance_to(self, target_ms: int, patience_s: float) -> Counter[str]:
        """Go from moment to moment until *target_ms*, and run at each what is due then."""
        clock = self._movable()
        if target_ms < clock.now_ms:
            clock.move_to_ms(target_ms)  # says what is wrong with that
        async with self._turn:
            done = await self._patiently(self._drain, patience_s)
            while True:
                tasks, firing = await self._next_moments()
                moments = [one for one in (tasks, firing) if one is not None and one <= target_ms]
                clock.move_to_ms(max(min(moments, default=target_ms), clock.now_ms))
                done += await self._patiently(self._drain, patience_s)
                if not moments:
                    return done

    async def finish(self, patience_s: float) -> Counter[str]:
        """Go from moment to moment until no task waits for its time any more."""
        clock = self._movable()
        async with self._turn:
            return await self._patiently(lambda: self._finish(clock), patience_s)

    async def _finish(self, clock: StoppedClock) -> Counter[str]:
        done = await self._drain()
        while (moment := (await self._next_moments())[0]) is not None:
            clock.move_to_ms(max(moment, clock.now_ms))
            done += await self._drain()
        return done

    async def _drain(self) -> Counter[str]:
        done = Counter[str]()
        while True:
            await self._next_moments()
            if not sum((await self._worker.counts()).ready.values()):
                return done
            with one_life(self._worker):
                await self._worker.run_async()
            run = Counter(counted(self._worker))
            if not run.total():  # what is ready is held back by something else
                return done
            del run["handed_back"], run["parked"], run["shelved"]  # depend on how fast the machine is
            done += run

    async def _next_moments(self) -> tuple[int | None, int | None]:
        """Make ready what is due now; when the next task and the next firing of a schedule are due, in milliseconds."""
        firing_s = await self._scheduler.tick()
        while firing_s == 0:  # a schedule that was not known before
            firing_s = await self._scheduler.tick()
        waits = [await self._next_task_of(partition) for partition in await partitions_of(self._worker)]
        waiting = [one for one in waits if one is not None]
        if self._clock is None:
            return None, None
        now = self._clock.now_ms
        return (
            now + min(waiting) if waiting else None,
            None if firing_s is None else now + round(firing_s * 1000),
        )

    async def _next_task_of(self, partition: int) -> int | None:
        settings = settings_of(self._worker)
        while True:
            found = await self._storages.at(partition).tick(
                settings.worker_id,
                gone_after_ms=GONE_AFTER_MS,
                keep_dead_ms=round(settings.keep_dead_s * 1000),
                keep_dead=settings.keep_dead,
            )
            if max(found.promoted, found.taken_back) < AT_ONCE:
                return found.next_due_ms

    async def _patiently(self, work: Callable[[], Awaitable[Counter[str]]], patience_s: float) -> Counter[str]:
        with anyio.move_on_after(patience_s):
            return await work()
        raise TimeoutError(f"the queue did not come to rest within {patience_s:g} s: {self._why()}")

    def _why(self) -> str:
        unknown = {entry.fn_name for entry in self._log.entries} - self._worker.registry.keys()
        if unknown:
            return f"no task of this worker is named {' or '.join(sorted(unknown))}, so it waits for one that knows it"
        return (
            "a task waits for what does not come, tasks enqueue each other for ever, or a fault is not healed; "
            "patience= allows more"
        )

    def _movable(self) -> StoppedClock:
        if self._clock is None:
            raise ConfigurationError("a real server has its own clock, which no test can move; use memory for that")
        return self._clock
