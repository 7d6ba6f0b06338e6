"""``poll_interval``: how often a worker looks for jobs. Here it is told of them, and knows when the next one is due.

It looks for the next due one twice a second, so a delay that is shorter than that may become half a second.
"""

from __future__ import annotations

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

SOON_MS = 100
"""A worker that looks once a second, as one does by default there, is five times as late on the average."""


async def test_a_job_begins_when_it_comes_and_when_it_is_due(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    worker = Worker(f"unix://{real_server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def noop() -> None: ...

    async with running(worker):
        for delay_ms in (0, 650):
            late = SOON_MS
            while late >= SOON_MS:  # at the latest after the patience of the test, which is for busy machines
                task = await noop.enqueue().start(delay=delay_ms / 1000)
                outcome = await task.result(timeout=PATIENCE)
                late = outcome.start_time - outcome.enqueue_time - delay_ms
                assert late >= -1, "before it was due"
    with pytest.raises(TypeError):
        Worker(poll_interval=1)  # type: ignore[call-arg]
