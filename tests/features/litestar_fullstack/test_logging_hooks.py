"""``startup_logger``, ``before_process_logger``, ``after_process_logger``, ``timing_…`` and so on: hooks that log.

Here they are four lines each of an application, at the same places, and what takes the time is told by the result too.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from secure_queue import TaskContext, TaskOutcome
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio
log = logging.getLogger("tests.application")


async def test_each_has_its_place_and_the_timing_reaches_from_one_to_the_other(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, log.name)
    began: dict[str, float] = {}

    def startup_logger(state: dict[str, Any]) -> None:
        log.info("worker starts")

    def shutdown_logger(state: dict[str, Any]) -> None:
        log.info("worker ends")

    def before_process_logger(context: TaskContext) -> None:
        began[context.task_id] = time.perf_counter()
        log.info("%s begins", context.fn_name)

    def after_process_logger(context: TaskContext, outcome: TaskOutcome) -> None:
        took = time.perf_counter() - began.pop(context.task_id)
        log.info("%s ends %s", context.fn_name, outcome.success, extra={"took": took})

    worker = place.worker(
        startup=startup_logger,
        shutdown=shutdown_logger,
        before_process=before_process_logger,
        after_process=after_process_logger,
    )

    @worker.task(name="job", max_tries=1, silent=True)
    def job(fails: bool) -> None:
        time.sleep(0.01)  # work, whose time is told
        if fails:
            raise LookupError

    async with running(worker):
        for fails in (False, True):
            await (await job.enqueue(fails)).result(timeout=PATIENCE)
    lines = [record.getMessage() for record in caplog.records if record.name == log.name]
    each = [["job begins", f"job ends {success}"] for success in (True, False)]
    assert lines == ["worker starts", *each[0], *each[1], "worker ends"]
    assert all(
        record.__dict__["took"] >= 0.01 for record in caplog.records if record.getMessage().startswith("job ends")
    )
    assert began == {}
