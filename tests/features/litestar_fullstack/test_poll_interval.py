"""``poll_interval``: how often a worker looks for jobs. Here it is told of them, and knows when the next one is due.

It looks for the next due one twice a second, so a delay that is shorter than that may become half a second.
"""

from __future__ import annotations

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

SOON_MS = 100
AT_ONCE_MS = [0] * 10
SPREAD_MS = [650, 800, 950, 1100]
"""A worker that looks once a second, as one does by default there, is in time for two of them at the most."""


async def test_a_job_begins_when_it_comes_and_when_it_is_due(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    worker = Worker(f"unix://{real_server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def noop() -> None: ...

    async def late_ms(delays_ms: list[int]) -> list[int]:
        tasks = [noop.enqueue().start(delay=delay_ms / 1000) for delay_ms in delays_ms]
        await worker.enqueue_many(tasks)
        outcomes = [await task.result(timeout=PATIENCE) for task in tasks]
        return [end.start_time - end.enqueue_time - delay_ms for end, delay_ms in zip(outcomes, delays_ms, strict=True)]

    async def each_is_in_time_that_is_due_now() -> bool:
        return max([(await late_ms([delay_ms]))[0] for delay_ms in AT_ONCE_MS]) < SOON_MS

    async def each_is_in_time_that_is_due_later() -> bool:
        late = await late_ms(SPREAD_MS)
        assert min(late) >= -1, "before it was due"
        return max(late) < SOON_MS

    async with running(worker):
        await eventually(each_is_in_time_that_is_due_now)  # a busy machine is given more rows
        await eventually(each_is_in_time_that_is_due_later)
    with pytest.raises(TypeError, match="workers are woken"):
        Worker(poll_interval=1)  # type: ignore[call-arg]
