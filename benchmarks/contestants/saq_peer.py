"""SAQ, spelled as its README and its own benchmark spell it; it has no signatures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from saq import Queue, Status, Worker

from benchmarks.contestants.contest import CONCURRENCY, PATIENCE_S, QUEUE, Contestant, Count, RoundTrip, main

REFRESH_S = 1  # the README's `await job.refresh(1)`
POLL_S = 0.001


class Saq(Contestant):
    """A SAQ queue, and a worker that drains it."""

    def __init__(self, url: str, secret: str) -> None:
        super().__init__()
        self.queue = Queue.from_url(url, name=QUEUE)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        await self.queue.connect()
        try:
            yield
        finally:
            await self.queue.disconnect()

    async def enqueue_batch(self, count: int) -> None:
        await asyncio.gather(*(self.queue.enqueue("noop") for _ in range(count)))

    async def enqueue_one(self) -> Any:
        return await self.queue.enqueue("noop")

    def round_trips(self) -> dict[str, RoundTrip]:
        return {"refresh": self._refresh, "apply_polling_each_ms": self._apply}

    async def _refresh(self) -> float:
        started = time.perf_counter()
        job = await self.queue.enqueue("noop")
        try:
            await job.refresh(until_complete=REFRESH_S)
        except TimeoutError:  # the job finished between its look and its subscription: nobody wakes it
            await job.refresh()
        assert job.status == Status.COMPLETE, job.status
        return time.perf_counter() - started

    async def _apply(self) -> float:
        started = time.perf_counter()
        await self.queue.apply("noop", timeout=PATIENCE_S, poll_interval=POLL_S)
        return time.perf_counter() - started

    def queued(self) -> Count:
        return Count(("LLEN", f"saq:{QUEUE}:queued"))

    def finished(self) -> Count:
        return Count(("ZCARD", f"saq:{QUEUE}:incomplete"), falling=True)

    async def count_results(self, expected: int) -> int:
        complete = self.queue.iter_jobs(statuses=[Status.COMPLETE], batch_size=1000)
        return len({job.key async for job in complete})

    def run_worker(self) -> None:
        uvloop.run(self._work())

    async def _work(self) -> None:
        tally = self.tally

        async def noop(_: Any) -> None:
            tally.hit()

        worker: Worker[Any] = Worker(self.queue, functions=[("noop", noop)], concurrency=CONCURRENCY)
        async with self.connected():
            await worker.start()


if __name__ == "__main__":
    main(Saq)
