"""A structured record after each job, with its times. ⚠ There it has arguments and results; here no payload is logged."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from secure_queue import TaskContext, TaskOutcome
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_times_of_a_job_are_told_and_a_hook_can_log_them(place: Place) -> None:
    worker, told = place.worker(), list[dict[str, Any]]()

    @worker.task(name="job")
    async def job(word: str) -> str:
        await anyio.sleep(0.02)  # work, whose time is told
        return word

    @worker.after_process
    def log(context: TaskContext, outcome: TaskOutcome) -> None:
        told.append({"id": context.task_id, "function": context.fn_name, "success": outcome.success})

    async with running(worker):
        task = await job.enqueue("x")
        result = await task.result(timeout=PATIENCE)
    pickup_ms, completed_ms = result.start_time - result.enqueue_time, result.finish_time - result.start_time
    assert pickup_ms >= 0 and completed_ms >= 19
    assert told == [{"id": task.id, "function": "job", "success": True}]


async def test_neither_arguments_nor_results_nor_what_failed_on_them_reach_the_log(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "secure_queue")
    worker = place.worker()

    @worker.task(max_tries=1)
    async def job(card: str) -> str:
        if card.endswith("2"):
            raise ValueError(card)
        return f"paid with {card}"

    async with running(worker):
        for card in ("4000-0000-0001", "4000-0000-0002"):
            await (await job.enqueue(card)).result(timeout=PATIENCE)
    assert caplog.records
    assert not [record for record in caplog.records if "4000-0000" in record.getMessage() + str(record.args)]
