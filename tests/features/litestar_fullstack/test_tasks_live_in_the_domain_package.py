"""Tasks live in the package of their domain: plain functions in a module that knows neither queue nor worker."""

from __future__ import annotations

import inspect
from uuid import uuid4

import pytest

from tests.features.litestar_fullstack import app_tasks
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_plain_function_of_a_domain_is_a_task_of_whichever_worker_names_it(place: Place) -> None:
    assert "worker" not in vars(app_tasks) and inspect.iscoroutinefunction(app_tasks.send_welcome_email)
    user = uuid4()
    assert await app_tasks.send_welcome_email(user) == f"UUID {user}"
    for queue, tasks in (
        ("one", [app_tasks.send_welcome_email]),
        ("two", [f"{app_tasks.__name__}.send_welcome_email"]),
    ):
        worker = place.worker(queue_name=queue, tasks=tasks)
        async with running(worker):
            job = await worker.enqueue_by_name("send_welcome_email", user)
            assert (await job.result(timeout=PATIENCE)).result == f"UUID {user}"
