"""``async def send_welcome_email(ctx: Context, user_id: UUID)``: context first, then typed arguments.

⚠ In plain SAQ a UUID raises TypeError; here it arrives as a UUID. ``ctx["job"].id`` is ``ctx.task_id``.
"""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from secure_queue import TaskContext
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("passed", ["by-position", "by-name"])
async def test_the_context_is_given_and_the_arguments_arrive_as_they_are(place: Place, passed: str) -> None:
    worker = place.worker()
    user = uuid4()

    @worker.task(name="send_welcome_email")
    async def send_welcome_email(ctx: TaskContext, user_id: UUID) -> tuple[str, UUID]:
        return ctx.task_id, user_id

    async with running(worker):
        args, kwargs = ((user,), {}) if passed == "by-position" else ((), {"user_id": user})
        job = await worker.enqueue_by_name("send_welcome_email", *args, **kwargs).start(id="welcome:1")
        assert (await job.result(timeout=PATIENCE)).result == ("welcome:1", user)
