"""``CronJob(function="…path…", unique=True, cron="* * * * *", timeout=300)``: a schedule of a function named by its path."""

from __future__ import annotations

import pytest

from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio
PATH = "tests.features.litestar_fullstack.app_tasks.renamed"


async def test_a_path_can_be_scheduled_with_the_options_of_a_task(place: Place) -> None:
    worker = place.worker()
    upkeep = worker.cron("0 * * * *", unique=True, timeout=500, name="upkeep")("tests.features.saq.jobs.upkeep")
    assert (upkeep.fn_name, upkeep.settings.timeout_s) == ("upkeep", 500)
    async with worker:
        [shown] = await worker.schedules()
    assert (shown.schedule_id, getattr(shown, "rule", "")) == ("upkeep", "0 * * * * (UTC)")


async def test_it_is_imported_and_run(place: Place) -> None:
    worker = place.worker()
    worker.cron("* * * * * *")("tests.features.saq.jobs.upkeep")
    from tests.features.saq import jobs

    jobs.ran.clear()
    jobs.on_run = worker.drain
    await worker.run_async()
    assert jobs.ran


async def test_enqueued_by_hand_it_is_an_ordinary_task(place: Place) -> None:
    worker = place.worker()
    task = worker.cron("0 0 1 1 *")(PATH.replace("renamed", "send_welcome_email"))
    async with running(worker):
        assert (await (await task.enqueue("u")).result(timeout=20)).result == "str u"
