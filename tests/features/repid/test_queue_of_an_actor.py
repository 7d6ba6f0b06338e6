"""``queue=`` of an actor: actors of several queues are run by one worker. Here each queue has its declarations."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import serve
from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio


async def test_actors_of_two_queues_share_one_worker(place: Place) -> None:
    mail, billing = place.worker(queue_name="mail"), place.worker(queue_name="billing")
    ran: list[str] = []

    @mail.actor
    async def send() -> None:
        ran.append("mail")

    @billing.actor
    async def charge() -> None:
        ran.append("billing")

    async with mail, billing:
        await mail.enqueue_many([send.enqueue() for _ in range(3)])
        await billing.enqueue_many([charge.enqueue() for _ in range(2)])
        mail.burst = billing.burst = True
        with anyio.fail_after(PATIENCE):
            reports = await serve(mail, billing)
    assert sorted(ran) == ["billing"] * 2 + ["mail"] * 3
    assert [report.processed for report in reports] == [3, 2]
