"""``await queue.enqueue("send_welcome_email", user_id=…)`` returns a job with ``.id``; it takes an id too."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_name_and_keywords_make_a_job_with_an_id(place: Place) -> None:
    worker = place.worker(tasks=["tests.features.litestar_fullstack.app_tasks.send_welcome_email"])
    user = uuid4()
    async with running(worker):
        job = await worker.enqueue_by_name("send_welcome_email", user_id=user)
        assert len(job.id) == 32
        assert (await worker.result_by_id(job.id, timeout=PATIENCE)).result == f"UUID {user}"


async def test_an_id_of_ones_own_is_stored_once(place: Place) -> None:
    worker = place.worker()
    async with worker:
        jobs = [worker.enqueue_by_name("send_welcome_email", n).start(id="welcome:1") for n in (1, 2)]
        for job in jobs:
            await job
        assert [job.existed for job in jobs] == [False, True]
        assert await worker.queue_size() == 1
        info = await worker.info_by_id("welcome:1")
        assert info is not None
        assert info.args == (1,)
