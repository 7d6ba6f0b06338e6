"""What surrounds a task, and what it says before its end: behind Sentinel and in a Cluster, over three partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from secure_queue import Depends, Router, Worker
from secure_queue.payload.keys import format_key, generate_key
from tests.servers import PATIENCE
from tests.worker.places import running

pytestmark = pytest.mark.anyio
SECRET = format_key(generate_key("composition"))


@pytest.mark.parametrize("topology", ["sentinels", "cluster"])
async def test_an_application_of_parts_streams_over_all_partitions(
    request: pytest.FixtureRequest, anyio_backend: str, topology: str
) -> None:
    group: Any = request.getfixturevalue(f"real_{topology}")
    worker = Worker(
        group.url, queue_name=f"parts-{anyio_backend}", partitions=3, signing_secret=SECRET, handle_signals=False
    )
    trace: ContextVar[str] = ContextVar("trace")
    worker.carry(trace)
    router = Router()

    @router.task
    async def count(to: int, *, start: int = Depends(lambda: 1)) -> AsyncIterator[str]:
        await count.report("begun")
        for number in range(start, to):
            yield f"{trace.get()} {number}"

    worker.include(router)
    async with running(worker):
        trace.set("t")
        tasks = [count.enqueue(3).start(id=f"count:{number}") for number in range(6)]
        await worker.enqueue_many(tasks)
        with anyio.fail_after(PATIENCE):
            for task in tasks:
                assert [part async for part in task.stream()] == ["t 1", "t 2"]
                assert await task.progress() == "begun"
                assert (await task.result()).result == 2
        finished = [counts.results for counts in await worker.partition_counts()]
        assert (len(finished), sum(finished), max(finished) < 6) == (3, 6, True)
