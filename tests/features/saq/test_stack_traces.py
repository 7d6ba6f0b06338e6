"""Stack traces are stored: the text of one stays with the failed job."""

from __future__ import annotations

import pytest

from secure_queue import TaskFailed
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


def divide(number: int) -> float:
    return number / 0


async def test_a_failure_tells_where_it_happened_and_a_dead_letter_too(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1, silent=True)
    async def compute() -> float:
        return divide(7)

    async with running(worker):
        task = await compute.enqueue()
        error = (await task.result(timeout=PATIENCE)).exception
        assert isinstance(error, TaskFailed)
        assert error.remote_type == "ZeroDivisionError"
        assert "in compute" in error.traceback and "in divide" in error.traceback
        assert "return number / 0" in error.traceback
        letter = await worker.dead_letter(task.id)
        assert "in divide" in letter.traceback
