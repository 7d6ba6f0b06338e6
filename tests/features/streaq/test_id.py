"""``id``: a name for the worker, which results tell; generated, and another for every object, if none is given."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_result_tells_who_made_it(place: Place) -> None:
    worker = place.worker(id="reports-1")

    @worker.task
    async def who() -> str:
        return who.context.worker_id

    async with running(worker):
        outcome = await (await who.enqueue()).result(timeout=PATIENCE)
        assert (outcome.result, outcome.worker_id) == ("reports-1", "reports-1")


async def test_two_processes_by_mistake_under_one_id_run_each_task_once(place: Place) -> None:
    """⚠ In streaQ the id must be unique, and nobody looks."""
    ran: list[int] = []

    def one() -> Worker[Any]:
        worker = place.worker(id="twice")

        @worker.task(name="note")
        async def note(number: int) -> None:
            ran.append(number)

        return worker

    first, second = one(), one()
    async with running(first), running(second):
        tasks = [first.enqueue_by_name("note", number) for number in range(40)]
        await first.enqueue_many(tasks)
        for task in tasks:
            await task.result(timeout=PATIENCE)
    assert sorted(ran) == list(range(40))


def test_a_generated_one_is_new_for_every_object() -> None:
    assert len({Worker("memory://").id for _ in range(20)}) == 20
