"""Sync functions in processes of their own: what crosses, and that nothing which goes wrong there costs the worker."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from secure_queue import ConfigurationError, TaskFailed, Worker
from tests.servers import PATIENCE, happens
from tests.worker import process_tasks
from tests.worker.places import AT_ONCE, Place, open_place, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def place(anyio_backend: object) -> AsyncIterator[Place]:
    """An empty queue in memory: processes are an affair of the worker alone."""
    async with open_place("memory", None) as opened:
        yield opened


def with_tasks(place: Place, **options: Any) -> Worker[Any]:
    worker = place.worker(process_concurrency=1, **options)
    again: dict[str, Any] = {"process": True, "max_tries": 2, "retry_policy": AT_ONCE}
    for function in (process_tasks.square, process_tasks.die_once):
        worker.task(name=function.__name__, **again)(function)
    worker.task(name="fail", retry_on=(LookupError, ValueError), **again)(process_tasks.fail)
    worker.task(name="hang", process=True, timeout=1.5, max_tries=1)(process_tasks.hang)
    worker.include(process_tasks.declared)
    return worker


async def outcome_of(worker: Worker[Any], name: str, *args: object) -> Any:
    return await (await worker.enqueue_by_name(name, *args)).result(timeout=PATIENCE)


async def test_what_crosses_and_that_nothing_which_goes_wrong_there_costs_more_than_a_try(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    worker = with_tasks(place)
    for variable in process_tasks.SECRETS:
        monkeypatch.setenv(variable, "secret")
    async with running(worker):
        value, pid = (await outcome_of(worker, "square", 12)).result
        assert value == 144
        assert pid != os.getpid()
        task = await worker.enqueue_by_name("who")
        assert tuple((await task.result(timeout=PATIENCE)).result) == (task.id, 1, False)

        plain = await outcome_of(worker, "fail", "ValueError")
        assert (str(plain.exception), plain.tries) == ("ValueError: the words of the error", 2)
        odd = await outcome_of(worker, "fail", "odd")
        assert str(odd.exception) == "tests.worker.process_tasks.Custom: words"
        local = await outcome_of(worker, "fail", "local")
        assert str(local.exception) == "tests.worker.process_tasks.fail.<locals>.Local: words"
        assert local.tries == 2, "it is tried again as any LookupError"
        assert str((await outcome_of(worker, "fail", "SystemExit")).exception) == "SystemExit: 3"
        assert "KeyboardInterrupt" in str((await outcome_of(worker, "fail", "interrupt")).exception)
        lost = await outcome_of(worker, "fail", "a value that cannot be sent")
        assert lost.exception.remote_type == "secure_queue.errors.CannotCross"
        assert lost.tries == 1  # it would be no better another time

        # At its soft limit a function is interrupted wherever it is, and it can ask for more time.
        assert (await outcome_of(worker, "tidy")).result == "saved"
        assert 10 < (await outcome_of(worker, "longer")).result <= 12
        assert (await outcome_of(worker, "square", 3)).result[1] == pid  # all of that in one process

        how = "exit" if anyio_backend == "asyncio" else "signal"
        outcome = await outcome_of(worker, "die_once", str(tmp_path / how), how)
        assert (outcome.result, outcome.tries) == ("alive", 2)
        last = (await outcome_of(worker, "square", 4)).result[1]
    assert last != pid
    assert not psutil.pid_exists(last)


async def test_a_timeout_an_abort_and_the_end_of_the_worker_end_the_process(place: Place, tmp_path: Path) -> None:
    worker = with_tasks(place, concurrency=2, grace_period=0)
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    async with worker:
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            outcome = await outcome_of(worker, "hang", str(first))
            assert isinstance(outcome.exception, TaskFailed)
            assert outcome.exception.remote_type == "TimeoutError"
            assert has_ended(first)

            task = await worker.enqueue_by_name("hang", str(second)).start(timeout=600)
            await happens(lambda: second.exists() and second.read_text())
            assert await task.abort(timeout=PATIENCE)
            await happens(lambda: has_ended(second))

            tasks = [await worker.enqueue_by_name("hang", str(third)).start(timeout=600) for _ in range(2)]
            await happens(lambda: third.exists() and third.read_text())
            worker.drain()  # one of them has the process, the other one waits for it
        infos = [await task.info() for task in tasks]
        assert [(info.status, info.tries) for info in infos if info] == [("queued", 0)] * 2
    assert has_ended(third)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_burst_waits_for_its_few_processes(place: Place) -> None:
    worker = with_tasks(place, concurrency=8)
    worker.burst = True
    async with worker:
        await worker.enqueue_many([worker.enqueue_by_name("square", number) for number in range(6)])
        assert (await worker.run_async()).processed == 6


def has_ended(mark: Path) -> bool:
    return not psutil.pid_exists(int(mark.read_text()))


async def test_functions_that_no_process_can_import_are_refused_at_once(place: Place) -> None:
    worker = place.worker()

    async def in_the_loop() -> None: ...

    def inside_of_another() -> None: ...

    others = inside_of_another, lambda: None, Path("of an object").exists
    for function, word in ((in_the_loop, "sync"), *((other, "top level") for other in others)):
        with pytest.raises(ConfigurationError, match=word):
            worker.task(name="refused", process=True)(function)
    with pytest.raises(ConfigurationError, match="process_concurrency"):
        place.worker(process_concurrency=-1)


async def test_a_dependency_that_hangs_and_an_import_that_takes_too_long_cost_no_more_than_a_try(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.execution.processes.LOAD_S", 0.01)
    worker = with_tasks(place)

    async def hang(_: object) -> None:
        await anyio.sleep_forever()

    worker.task(name="slow_hook", process=True, timeout=0.2, max_tries=1, before_process=hang)(process_tasks.square)
    async with running(worker):
        hung = await outcome_of(worker, "slow_hook", 1)
        assert "timeout" in str(hung.exception).lower()
        slow = await outcome_of(worker, "square", 1)
        assert "had not imported its function" in str(slow.exception) and slow.tries == 2
