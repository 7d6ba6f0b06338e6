"""``worker.include(other)``: copies tasks and cron jobs, re-points the tasks to the including worker; duplicates raise."""

from __future__ import annotations

import pytest

from secure_queue import ConfigurationError, Router
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_tasks_and_schedules_of_another_worker_run_here(place: Place) -> None:
    worker, other = place.worker(), place.worker(queue_name="elsewhere")
    fired: list[int] = []

    @other.task
    async def double(number: int) -> int:
        return 2 * number

    @other.cron("* * * * * *")
    async def often() -> None:
        fired.append(1)
        worker.drain()

    worker.include(other)

    @other.task
    async def declared_later() -> str:
        return declared_later.context.fn_name

    assert double.worker is worker
    async with worker:
        task, late = double.enqueue(4), declared_later.enqueue()
        await worker.enqueue_many([task, late])
        await worker.run_async()
        assert (await task.result(timeout=PATIENCE)).result == 8
        assert "declared_later" in (await late.result(timeout=PATIENCE)).result
    assert fired


async def test_a_name_that_is_known_already_raises_and_takes_nothing_in(place: Place) -> None:
    worker, other = place.worker(), place.worker()

    @worker.task(name="same")
    async def mine() -> None: ...

    @other.task(name="new")
    async def new() -> None: ...

    @other.task(name="same")
    async def theirs() -> None: ...

    with pytest.raises(ConfigurationError, match="'same'"):
        worker.include(other)
    assert list(worker.registry) == ["same"]
    assert new.worker is other


async def test_a_schedule_that_is_known_already_raises(place: Place) -> None:
    worker, other = place.worker(), place.worker()
    for name, one in (("a", worker), ("b", other)):
        one.cron("* * * * *", name=name, schedule_id="hourly")(lambda: None)
    with pytest.raises(ConfigurationError, match="'hourly'"):
        worker.include(other)


async def test_nobody_includes_himself_or_anything_twice(place: Place) -> None:
    worker, router, inner = place.worker(), Router(), Router()
    router.include(inner)
    worker.include(router)
    for wrong in (worker, router, "nothing", 7):
        with pytest.raises(ConfigurationError):
            worker.include(wrong)  # type: ignore[arg-type]
            worker.import_tasks()  # a path is looked up only then
    with pytest.raises(ConfigurationError, match="itself"):
        inner.include(worker)


async def test_parts_of_parts_belong_to_the_outermost_worker(place: Place) -> None:
    worker, router, inner = place.worker(), Router(), Router()

    @inner.task
    async def deep() -> str:
        return deep.context.worker_id

    router.include(inner)
    worker.include(router)

    @inner.task
    async def deeper() -> str:
        return await deep()

    assert deep.worker is deeper.worker is worker
    async with running(worker):
        for task in (deep, deeper):
            assert (await (await task.enqueue()).result(timeout=PATIENCE)).result == worker.id
