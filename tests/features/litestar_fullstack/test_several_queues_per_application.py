"""One queue holds several tasks, and an application several queues: "system-tasks", "background-tasks"."""

from __future__ import annotations

import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_tasks_of_two_queues_do_not_mix(place: Place) -> None:
    queues = {name: place.worker(queue_name=name) for name in ("system-tasks", "background-tasks")}
    for name, worker in queues.items():
        for task in ("first", "second"):
            worker.task(name=task)(lambda name=name, task=task: f"{task} of {name}")
    async with running(queues["system-tasks"]), running(queues["background-tasks"]):
        for name, worker in queues.items():
            for task in ("first", "second"):
                job = await worker.enqueue_by_name(task).start(id=f"same-{task}")
                assert (await job.result(timeout=PATIENCE)).result == f"{task} of {name}"
        for worker in queues.values():
            assert len(await worker.get_tasks_by_status(TaskStatus.DONE)) == 2
