"""``retries``: 0 is one run; what fails then goes to the dead letters, from which it can be taken back."""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


async def test_a_job_without_retries_runs_once_and_is_kept(place: Place) -> None:
    worker, runs = place.worker(), list[int]()
    repaired = False

    @worker.actor(name="job", max_tries=1, silent=True)
    async def job(number: int) -> int:
        runs.append(number)
        if not repaired:
            raise LookupError("no such row")
        return number

    async with running(worker):
        task = await job.enqueue(7)
        outcome = await task.result(timeout=PATIENCE)
        assert (outcome.success, outcome.tries, runs) == (False, 1, [7])
        [letter] = await worker.dead_letters()
        assert (letter.task_id, letter.fn_name, letter.tries) == (task.id, "job", 1)  # type: ignore[union-attr]
        repaired = True
        await worker.retry_dead_letter(task.id)
        assert (await worker.result_by_id(task.id, timeout=PATIENCE)).result == 7
        assert await worker.dead_letters() == []


async def test_retries_are_runs_beside_the_first(place: Place) -> None:
    worker, runs = place.worker(), list[int]()

    @worker.actor(max_tries=3, retry_policy=AT_ONCE, silent=True)
    async def job() -> None:
        runs.append(job.context.tries)
        raise LookupError

    async with running(worker):
        assert (await (await job.enqueue()).result(timeout=PATIENCE)).tries == 3
    assert runs == [1, 2, 3]
