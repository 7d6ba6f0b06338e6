"""secure_queue, spelled as the README spells it; everything else at its defaults."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contestants.contest import CONCURRENCY, PATIENCE_S, QUEUE, Contestant, Count, RoundTrip, main
from secure_queue import Task, TaskResult, TaskStatus, Worker
from secure_queue.redis.keys import QueueKeys

PRIORITY = "normal"


class Ours(Contestant):
    """A Worker, used as producer or as running worker."""

    def __init__(self, url: str, secret: str) -> None:
        super().__init__()
        self.worker: Worker[Any] = Worker(
            redis_url=url,
            concurrency=CONCURRENCY,
            queue_name=QUEUE,
            signing_secret=secret,
            replicas=1,  # of which only the replicated measurements make use
            anyio_kwargs={"use_uvloop": True},
        )
        self.keys = QueueKeys(QUEUE, [PRIORITY])
        tally = self.tally

        @self.worker.task(ttl=300)
        async def noop() -> None:
            tally.hit()

        self.noop = noop

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        async with self.worker:
            yield

    async def enqueue_batch(self, count: int) -> None:
        tasks = [self._task() for _ in range(count)]
        await self.worker.enqueue_many(tasks)
        self._check(tasks)

    async def enqueue_one(self) -> Any:
        task = await self._task()
        self._check([task])
        return task

    def _task(self) -> Task[None]:
        task = self.noop.enqueue()
        return task.start(durability="replicated") if self.waits_for_replica else task

    def _check(self, tasks: list[Task[None]]) -> None:
        if self.waits_for_replica and any(task.durability != "replicated" for task in tasks):
            raise RuntimeError("what was acknowledged at less does not count")

    def round_trips(self) -> dict[str, RoundTrip]:
        return {"result": self._result}

    async def _result(self) -> float:
        started = time.perf_counter()
        task = await self.noop.enqueue()
        await task.result(timeout=PATIENCE_S)
        return time.perf_counter() - started

    def queued(self) -> Count:
        return Count(("LLEN", self.keys.ready[PRIORITY].decode()))

    def finished(self) -> Count:
        return Count(("ZCARD", self.keys.results.decode()))

    async def count_results(self, expected: int) -> int:
        rows = await self.worker.get_tasks_by_status(TaskStatus.DONE, limit=2 * expected)
        return sum(isinstance(row, TaskResult) and row.success for row in rows)

    def run_worker(self) -> None:
        self.worker.run_sync()


if __name__ == "__main__":
    main(Ours)
