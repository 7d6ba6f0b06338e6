"""A job names what it runs. ⚠ There a worker asks a service for whatever method Redis names; here for tasks alone.

The services of SQLAlchemy, whose methods are enqueued by name, come with an integration of their own.
"""

from __future__ import annotations

import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


class Service:
    """Has more methods than tasks."""

    def __init__(self) -> None:
        self.did: list[str] = []

    async def create(self, name: str) -> str:
        self.did.append(f"create {name}")
        return name

    async def delete_everything(self) -> None:
        self.did.append("delete everything")


async def test_what_was_not_declared_does_not_run_even_when_a_producer_names_it(place: Place) -> None:
    service, worker = Service(), place.worker()
    worker.task(name="create")(service.create)
    names = ["delete_everything", "Service.delete_everything", "os.getcwd", "builtins.exit", "create.__class__"]
    async with running(worker):
        tasks = [worker.enqueue_by_name(name) for name in names]
        await worker.enqueue_many(tasks)
        created = await worker.enqueue_by_name("create", "row")
        assert (await created.result(timeout=PATIENCE)).result == "row"
        for task in tasks:
            assert await task.status() in (TaskStatus.QUEUED, TaskStatus.SCHEDULED, TaskStatus.RUNNING)
    assert service.did == ["create row"]
