"""streaQ with ``signing_secret``, spelled as its documentation spells it; everything else at its defaults."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streaq import TaskStatus, Worker

from benchmarks.contestants.contest import CONCURRENCY, PATIENCE_S, QUEUE, Contestant, Count, RoundTrip, main


class Streaq(Contestant):
    """A streaQ worker object, used as producer or as running worker."""

    def __init__(self, url: str, secret: str) -> None:
        super().__init__()
        self.worker: Worker[Any] = Worker(
            redis_url=url,
            concurrency=CONCURRENCY,
            queue_name=QUEUE,
            signing_secret=secret,
            anyio_kwargs={"use_uvloop": True},
        )
        tally = self.tally

        @self.worker.task
        async def noop() -> None:
            tally.hit()

        self.noop = noop

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        async with self.worker:
            yield

    async def enqueue_batch(self, count: int) -> None:
        await self.worker.enqueue_many([self.noop.enqueue() for _ in range(count)])

    async def enqueue_one(self) -> Any:
        return await self.noop.enqueue()

    def round_trips(self) -> dict[str, RoundTrip]:
        return {"result": self._result, "result_before_unsubscribe": self._result_before_unsubscribe}

    async def _result(self) -> float:
        started = time.perf_counter()
        task = await self.noop.enqueue()
        await task.result(timeout=PATIENCE_S)
        return time.perf_counter() - started

    async def _result_before_unsubscribe(self) -> float:
        """The calls of ``task.result()``, the clock stopped before its subscription is closed."""
        worker, started = self.worker, time.perf_counter()
        task = await self.noop.enqueue()
        async with worker.redis.pubsub(
            channels=[worker._channel_key + task.id], ignore_subscribe_messages=True, subscription_timeout=5
        ) as subscription:
            raw: Any = await worker.redis.get(worker.results_key + task.id)
            if not raw:
                raw = (await anext(subscription))["data"]
            await worker.deserialize(raw)
            return time.perf_counter() - started

    def queued(self) -> Count:
        return Count(("XLEN", f"streaq:{QUEUE}:queues:normal"))

    def finished(self) -> Count:
        return Count(("ZCARD", f"streaq:{QUEUE}:index:results"))

    async def count_results(self, expected: int) -> int:
        results = await self.worker.get_tasks_by_status(TaskStatus.DONE, limit=2 * expected)
        return sum(result.success for result in results)

    def run_worker(self) -> None:
        self.worker.run_sync()


if __name__ == "__main__":
    main(Streaq)
