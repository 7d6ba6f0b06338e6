"""Who can end a run, and how: signals, other threads, and a cancellation while it is still starting."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from secure_queue import TaskStatus
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.mark.crossed
async def test_workers_of_one_process_share_its_signals_and_the_host_gets_its_handlers_back(place: Place) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        workers = [place.worker(handle_signals=True) for _ in range(2)]
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for worker in workers:
                    await _start(group, worker)
                os.kill(os.getpid(), signal.SIGTERM)
        assert heard == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_worker_that_leaves_signals_alone_leaves_them_alone(place: Place) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        worker = place.worker(handle_signals=False)
        async with anyio.create_task_group() as group:
            await _start(group, worker)
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
            worker.stop()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.crossed
@pytest.mark.parametrize("how", ["drain", "stop"])
async def test_a_run_can_be_ended_from_another_thread(place: Place, how: str) -> None:
    worker = place.worker()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            await _start(group, worker)
            threading.Thread(target=getattr(worker, how)).start()


async def test_a_lifespan_that_does_not_start_can_be_cancelled(place: Place) -> None:
    entered, left = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            left.set()
        yield

    worker = place.worker(lifespan=lifespan)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_async)
            await entered.wait()
            group.cancel_scope.cancel()
    assert left.is_set()


async def test_what_is_asked_when_nothing_runs_is_not_asked_of_the_next_run(place: Place) -> None:
    worker = place.worker()
    worker.drain()
    worker.stop()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            await _start(group, worker)
            worker.stop()


async def test_tasks_are_handed_back_when_the_lifespan_breaks_under_them(place: Place) -> None:
    broken, started = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async def fail() -> None:
            await broken.wait()
            raise LookupError("the connection that all tasks need is lost")

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield

    worker = place.worker(lifespan=lifespan)

    @worker.task
    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    async def run() -> None:
        with pytest.raises(LookupError, match="is lost"):
            await worker.run_async()

    async with worker:
        task = await hang.enqueue()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await started.wait()
                broken.set()
        info = await task.info()
        assert info is not None and (info.status, info.tries) == (TaskStatus.QUEUED, 0)


async def test_a_task_that_ignores_its_cancellation_is_handed_back_and_reported(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.execution.engine.CANCEL_S", 0.05)
    worker, stuck = place.worker(), anyio.Event()
    started, obey = anyio.Event(), False

    @worker.task
    async def stubborn() -> None:
        started.set()
        while not obey:
            with suppress(BaseException):
                await anyio.sleep(0.01)

    worker.when_stuck = stuck.set
    async with worker:
        task = await stubborn.enqueue()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run_async)
                await started.wait()
                worker.stop()
                await stuck.wait()
                info = await task.info()
                assert info is not None and (info.status, info.tries) == (TaskStatus.QUEUED, 0)
                obey = True


async def _start(group: anyio.abc.TaskGroup, worker: object) -> None:
    """Run *worker* in *group*; return when it has run its first task."""
    started = anyio.Event()

    @worker.task(name=f"hello-{worker.id}")  # type: ignore[attr-defined, misc]
    async def hello() -> None:
        started.set()

    async with worker:  # type: ignore[attr-defined]
        group.start_soon(worker.run_async)  # type: ignore[attr-defined]
        await hello.enqueue()
        await started.wait()


@pytest.mark.crossed
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_process_that_a_task_forks_ends_by_the_signals_that_a_worker_counts(place: Place) -> None:
    worker = place.worker(handle_signals=True)

    @worker.task(max_tries=1)
    def fork_and_terminate() -> int:
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):  # no line of the test's own process may run here
                os.write(there, b"!")
                select.select([], [], [], PATIENCE)
            os._exit(0)
        os.read(here, 1)
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async with running(worker):
        for _ in range(2):  # the worker goes on: the signal was not for it
            outcome = await (await fork_and_terminate.enqueue()).result(timeout=2 * PATIENCE)
            assert outcome.result == -signal.SIGTERM
