"""``ctx["job"].id``: a job knows its own id, for the lines of its log."""

from __future__ import annotations

from contextvars import ContextVar
from uuid import UUID, uuid4

import pytest

from secure_queue import TaskContext
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_id_reaches_the_task_and_whatever_it_calls(place: Place) -> None:
    worker = place.worker()
    task_id: ContextVar[str] = ContextVar("task_id")
    lines: list[str] = []

    def log(event: str) -> None:
        lines.append(f"{event} task_id={task_id.get()}")

    @worker.task(name="send_welcome_email")
    async def send_welcome_email(ctx: TaskContext, user_id: UUID) -> None:
        task_id.set(ctx.task_id)
        log("welcome")

    async with running(worker):
        jobs = [await send_welcome_email.enqueue(user_id=uuid4()) for _ in range(2)]
        for job in jobs:
            await job.result(timeout=PATIENCE)
    assert sorted(lines) == sorted(f"welcome task_id={job.id}" for job in jobs)
