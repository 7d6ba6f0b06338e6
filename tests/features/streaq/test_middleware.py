"""``@worker.middleware``: it takes ``call_next`` and returns an async function; the first one is outermost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, Retry, Router
from secure_queue.tasks import CallNext
from tests.servers import PATIENCE, happens
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


def naming(name: str, told: list[str]) -> Callable[[CallNext], CallNext]:
    def middleware(call_next: CallNext) -> CallNext:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            told.append(f"+{name}")
            try:
                return await call_next(*args, **kwargs)
            finally:
                told.append(f"-{name}")

        return wrapper

    return middleware


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_middleware_surrounds_a_task_from_outside_to_inside(place: Place, kind: str) -> None:
    worker, router = place.worker(), Router()
    told: list[str] = []
    here = threading.get_ident()

    def work(number: int) -> int:
        told.append("in a thread" if threading.get_ident() != here else "here")
        return number

    async def work_async(number: int) -> int:
        return work(number)

    job = router.task(name="job", middleware=[naming("task", told)])(work if kind == "sync" else work_async)
    worker.include(router)
    for name in ("first", "second"):
        worker.middleware(naming(name, told))
    router.middleware(naming("router", told))
    async with running(worker):
        assert (await (await job.enqueue(3)).result(timeout=PATIENCE)).result == 3
    names = ("first", "second", "router", "task")
    middle = "in a thread" if kind == "sync" else "here"
    assert told == [*(f"+{name}" for name in names), middle, *(f"-{name}" for name in reversed(names))]


async def test_middleware_changes_arguments_results_and_failures(place: Place) -> None:
    worker = place.worker()

    @worker.middleware
    def kind(call_next: CallNext) -> CallNext:
        async def wrapper(number: int) -> Any:
            try:
                return await call_next(number + 1) * 10
            except LookupError:
                return "mended"
            except OSError as error:
                raise Retry(delay=0) from error

        return wrapper

    @worker.task(retry_on=[])
    def job(number: int) -> int:
        if number == 6:
            raise LookupError
        if number == 7 and job.context.tries == 1:
            raise OSError
        return number

    async with running(worker):
        found = [await (await job.enqueue(number)).result(timeout=PATIENCE) for number in (4, 5, 6)]
        assert [(one.result, one.tries) for one in found] == [(50, 1), ("mended", 1), (70, 2)]


async def test_middleware_cannot_take_a_run_that_never_began_for_a_failure(place: Place) -> None:
    """A worker without a free thread hands the task on; what swallows every exception must not answer for it."""
    worker = place.worker(sync_concurrency=1, concurrency=4)
    free, began, runs = threading.Event(), anyio.Event(), []

    @worker.middleware
    def swallow(call_next: CallNext) -> CallNext:
        async def wrapper(*args: Any) -> Any:
            try:
                return await call_next(*args)
            except Exception:
                return "swallowed"

        return wrapper

    @worker.task(timeout=0.05, max_tries=1)
    def stubborn() -> None:
        anyio.from_thread.run_sync(began.set)
        free.wait(PATIENCE)

    @worker.task
    def job() -> str:
        runs.append(1)
        return "done"

    async with running(worker):
        first = await stubborn.enqueue()
        await began.wait()
        await first.result(timeout=PATIENCE)  # its thread goes on, and takes the only place
        second = await job.enqueue()
        await happens(lambda: worker.counters["handed_back"])
        assert runs == []
        free.set()
        assert (await second.result(timeout=PATIENCE)).result == "done"


async def test_the_time_of_middleware_counts(place: Place) -> None:
    worker = place.worker()

    @worker.middleware
    def slow(call_next: CallNext) -> CallNext:
        async def wrapper() -> None:
            await anyio.sleep_forever()

        return wrapper

    @worker.task(timeout=0.05, max_tries=1, retry_policy=AT_ONCE)
    async def job() -> None: ...

    async with running(worker):
        outcome = await (await job.enqueue()).result(timeout=PATIENCE)
        assert str(outcome.exception) == "TimeoutError: the task exceeded its timeout"


def test_a_middleware_that_returns_nothing_is_refused() -> None:
    router = Router()
    router.middleware(lambda call_next: None)
    with pytest.raises(ConfigurationError, match="call_next"):
        router.task(name="job")(lambda: None)
