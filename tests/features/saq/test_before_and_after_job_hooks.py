"""Before and after job hooks: per worker and per task, and they can change the outcome."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from secure_queue import ConfigurationError, Router, TaskContext, TaskOutcome
from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


async def test_hooks_of_worker_router_and_task_surround_a_run_in_this_order(place: Place) -> None:
    told: list[str] = []

    def before(name: str) -> Any:
        return lambda context: told.append(f"before {name} {context.fn_name}")

    def after(name: str) -> Any:
        async def hook(context: TaskContext, outcome: TaskOutcome) -> None:
            told.append(f"after {name} {outcome.result}")

        return hook

    router = Router()
    router.before_process(before("router"))
    router.after_process(after("router"))

    @router.task(name="job", before_process=before("task"), after_process=[after("task")])
    async def job() -> int:
        told.append("job")
        return 7

    worker = place.worker(routers=[router], before_process=before("worker"), after_process=after("worker"))
    async with running(worker):
        assert (await (await job.enqueue()).result(timeout=PATIENCE)).result == 7
    names = ("worker", "router", "task")
    assert told == [
        *(f"before {name} job" for name in names),
        "job",
        *(f"after {name} 7" for name in reversed(names)),
    ]


async def test_a_hook_before_a_run_can_end_it(place: Place) -> None:
    worker = place.worker()

    @worker.before_process
    async def refuse(context: TaskContext) -> None:
        raise PermissionError("not on a Sunday")

    @worker.task(max_tries=1)
    async def job() -> None:
        raise AssertionError("it must not run")

    async with running(worker):
        outcome = await (await job.enqueue()).result(timeout=PATIENCE)
        assert str(outcome.exception) == "PermissionError: not on a Sunday"


async def test_a_hook_after_a_run_can_change_its_outcome_both_ways(place: Place) -> None:
    worker = place.worker(after_process=[])

    @worker.after_process
    def mend(context: TaskContext, outcome: TaskOutcome) -> TaskOutcome | None:
        return TaskOutcome("mended") if isinstance(outcome.exception, LookupError) else None

    @worker.after_process
    def doubt(context: TaskContext, outcome: TaskOutcome) -> None:
        if outcome.result == "too good to be true":
            raise ValueError("no")

    @worker.task
    async def broken() -> None:
        raise LookupError

    @worker.task(max_tries=1)
    async def fine() -> str:
        return "too good to be true"

    async with running(worker):
        assert (await (await broken.enqueue()).result(timeout=PATIENCE)).result == "mended"
        assert str((await (await fine.enqueue()).result(timeout=PATIENCE)).exception) == "ValueError: no"


async def test_a_hook_after_a_run_is_called_for_every_try_and_for_an_interrupted_one(place: Place) -> None:
    worker = place.worker()
    told: list[tuple[int, bool, bool]] = []

    async def note(context: TaskContext, outcome: TaskOutcome) -> TaskOutcome:
        await anyio.lowlevel.checkpoint()  # a hook that cleans up may wait, although the run was cut off
        told.append((context.tries, outcome.success, outcome.interrupted))
        return outcome if not outcome.interrupted else TaskOutcome("this changes nothing")

    @worker.task(after_process=note, retry_policy=AT_ONCE, timeout=0.2)
    async def job() -> None:
        if job.context.tries == 1:
            raise LookupError
        await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await job.enqueue()).result(timeout=PATIENCE)
        assert str(outcome.exception) == "TimeoutError: the task exceeded its timeout"
    assert told == [(1, False, False), (2, False, True)]


async def test_a_hook_before_an_enqueue_may_add_to_it_or_refuse_it(place: Place) -> None:
    worker = place.worker()

    @worker.before_enqueue
    async def sign(task: Any) -> None:
        if task.kwargs.get("amount", 0) > 100:
            raise PermissionError("too much")
        task.start(headers={"by": "alice"})

    @worker.task
    async def pay(amount: int) -> str:
        return pay.context.headers["by"]

    async with running(worker):
        task = await pay.enqueue(amount=1)
        assert (await task.result(timeout=PATIENCE)).result == "alice"
        assert (await task).existed, "one that is enqueued again stays as it is"
        with pytest.raises(ConfigurationError, match="enqueued already"):
            task.start(headers={"by": "mallory"})
        with pytest.raises(PermissionError):
            await worker.enqueue_many([pay.enqueue(amount=2), pay.enqueue(amount=101)])
        assert await worker.queue_size() == 0


def test_what_is_no_hook_is_refused_at_once() -> None:
    for wrong in (7, [None], "name"):
        with pytest.raises(ConfigurationError, match="functions"):
            Router().task(name="job", after_process=wrong)  # type: ignore[call-overload]
