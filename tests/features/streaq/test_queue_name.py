"""``queue_name``: ``"default"`` by default; several queues by several workers on one server."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import TaskStatus, Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_each_queue_has_its_own_workers(place: Place) -> None:
    mail, billing = place.worker(queue_name="mail"), place.worker(queue_name="billing")

    def declare(worker: Worker[Any]) -> Any:
        @worker.task(name="where")
        async def where() -> str:
            return worker.queue_name

        return where

    where = {worker: declare(worker) for worker in (mail, billing)}
    async with running(mail), billing:
        there = await where[billing].enqueue()
        assert (await (await where[mail].enqueue()).result(timeout=PATIENCE)).result == "mail"
        assert await there.status() is TaskStatus.QUEUED
        assert await mail.status_by_id(there.id) is TaskStatus.NOT_FOUND
    async with running(billing):
        assert (await there.result(timeout=PATIENCE)).result == "billing"


def test_it_is_default_by_default() -> None:
    assert Worker("memory://").queue_name == "default"
