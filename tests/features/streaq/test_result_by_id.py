"""``worker.result_by_id(id)``: the result of a task, waited for if it must be, from any process."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_result_is_waited_for_and_kept(place: Place) -> None:
    worker, elsewhere = place.worker(), place.worker()

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with elsewhere:
        async with worker:
            task_id = (await double.enqueue(4)).id
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                assert (await elsewhere.result_by_id(task_id, timeout=PATIENCE)).result == 8

            group.start_soon(wait)
            async with running(worker):
                assert (await worker.result_by_id(task_id, timeout=PATIENCE)).result == 8
        assert (await elsewhere.result_by_id(task_id)).result == 8
