"""``QueueConfig(dsn=…, name="background-tasks", tasks=[…], scheduled_tasks=[…])``: a queue is declared in one place."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from tests.features.saq import jobs
from tests.servers import PATIENCE, happens
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

TASKS = "tests.features.litestar_fullstack.app_tasks"


async def test_server_name_tasks_and_schedules_are_given_by_their_names(place: Place) -> None:
    worker: Worker[Any] = Worker(
        place.url,
        queue_name="background-tasks",
        tasks=[f"{TASKS}.send_welcome_email"],
        routers=[f"{TASKS}.router"],
        signing_secret=SECRET,
        handle_signals=False,
    )
    worker.cron("* * * * * *", unique=True, timeout=500)("tests.features.saq.jobs.upkeep")
    jobs.ran.clear()
    jobs.on_run = lambda: None
    async with running(worker):
        sent = await worker.enqueue_by_name("send_welcome_email", 7)
        assert (await sent.result(timeout=PATIENCE)).result == "int 7"
        assert (await (await worker.enqueue_by_name("billing.charge", 5)).result(timeout=PATIENCE)).result == 7
        await happens(lambda: jobs.ran)
