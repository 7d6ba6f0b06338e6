"""``id_``: none by default, then each enqueue makes one; a given one is used again. ⚠ There brokers *may* enforce it."""

from __future__ import annotations

import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_without_one_each_enqueue_is_another_job_and_with_one_the_same(place: Place) -> None:
    worker, runs = place.worker(), list[str]()

    @worker.actor(name="note")
    async def note() -> None:
        runs.append(note.context.task_id)

    async with worker:
        jobs = [await note.enqueue() for _ in range(3)]
        assert len({job.id for job in jobs}) == 3
        assert all(len(job.id) == 32 for job in jobs)
        named = [await note.enqueue().start(id="order:7") for _ in range(3)]
        assert [job.existed for job in named] == [False, True, True]
    async with running(worker):
        for job in (*jobs, *named):
            await job.result(timeout=PATIENCE)
    assert sorted(runs) == sorted([*(job.id for job in jobs), "order:7"])
