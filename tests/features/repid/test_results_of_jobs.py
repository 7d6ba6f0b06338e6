"""``store_result``, ``result_id`` and ``result_ttl``: a result has the id of its job, and is kept as long as one says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from secure_queue import ResultUnavailable, TaskStatus, UnserializableValue, Worker
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_a_result_is_kept_for_its_time_or_not_at_all() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)

    @worker.actor(ttl=timedelta(days=1))
    async def double(number: int) -> int:
        return 2 * number

    async with TestWorker(worker) as queue:
        kept, not_kept = await double.enqueue(4).start(id="sum:4"), await double.enqueue(5).start(ttl=0)
        await queue.drain()
        with pytest.raises(ResultUnavailable):
            await not_kept.result()
        await queue.advance(hours=24)
        assert (await worker.result_by_id("sum:4")).result == 8
        queue.clock.move(milliseconds=1)
        assert await kept.status() is TaskStatus.NOT_FOUND


async def test_large_arguments_need_no_store_of_their_own(place: Place) -> None:
    """There ``use_args_bucketer`` puts them elsewhere; here one record takes a megabyte, and more is refused at once."""
    worker = place.worker()

    @worker.actor
    async def length(text: str) -> int:
        return len(text)

    async with running(worker):
        assert (await (await length.enqueue("x" * 1_000_000)).result(timeout=PATIENCE)).result == 1_000_000
        with pytest.raises(UnserializableValue, match="large"):
            await length.enqueue("x" * 3_000_000)
