"""``queue`` may be a ``str`` or a ``Queue``, which it becomes. Here the object is a ``Worker``, and its name the queue."""

from __future__ import annotations

import pytest

from secure_queue import Router, TaskStatus, Worker
from tests.servers import PATIENCE
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_whoever_has_the_name_and_whoever_has_the_object_are_in_one_queue(place: Place) -> None:
    mail = place.worker(queue_name="mail")
    by_name = Worker(place.url, queue_name=mail.queue_name, signing_secret=SECRET, handle_signals=False)
    by_cluster_name = place.worker(queue_name="{mail}")
    other = place.worker(queue_name="billing")

    @mail.actor(name="send")
    async def send(to: str) -> str:
        return f"{send.worker.queue_name} to {to}"  # type: ignore[attr-defined]

    async with by_name, by_cluster_name, other, running(mail):
        job = await by_name.enqueue_by_name("send", "alice")
        assert (await by_cluster_name.result_by_id(job.id, timeout=PATIENCE)).result == "mail to alice"
        assert await other.status_by_id(job.id) is TaskStatus.NOT_FOUND


async def test_an_actor_is_in_the_queue_of_the_object_that_takes_it_in(place: Place) -> None:
    router = Router()

    @router.actor(name="where")
    async def where(queue: str) -> str:
        return queue

    for name in ("mail", "billing"):
        worker = place.worker(queue_name=name, routers=[router])
        async with running(worker):
            job = await worker.enqueue_by_name("where", name)
            assert (await job.result(timeout=PATIENCE)).result == name
