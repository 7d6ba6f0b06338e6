"""Workers that end when they have done enough, and say how much that was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar

import anyio
import pytest

from secure_queue import ConfigurationError, Rejected, TaskStatus
from secure_queue.execution.recycling import memory_mib
from secure_queue.names import printable
from secure_queue.presence import LONGEST_HOST, WORKER, Announcer, _opened, this_host
from tests.servers import PATIENCE
from tests.worker.places import Place, open_place

pytestmark = pytest.mark.anyio


@pytest.fixture
async def place(anyio_backend: object) -> AsyncIterator[Place]:
    """An empty queue in memory."""
    async with open_place("memory", None) as opened:
        yield opened


@pytest.mark.parametrize(("limit", "partitions"), [(1, 1), (3, 1), (5, 3)])
async def test_a_worker_takes_exactly_so_many_tasks_and_leaves_the_others(
    place: Place, limit: int, partitions: int
) -> None:
    worker = place.worker(messages_limit=limit, concurrency=4, partitions=partitions)

    @worker.task(max_tries=1)
    async def work(number: int) -> None:
        await anyio.sleep(0.001)
        if number % 2:
            raise ValueError

    async with worker:
        await worker.enqueue_many([work.enqueue(number) for number in range(12)])
        with anyio.fail_after(PATIENCE):
            report = await worker.run_async()
        assert (report.processed, report.has_done_enough) == (limit, True)
        left = await worker.get_tasks_by_status(TaskStatus.QUEUED)
        assert [task.tries for task in left] == [0] * (12 - limit)


async def test_whatever_the_end_of_a_run_is_it_counts_once_and_those_that_came_first_run(place: Place) -> None:
    worker, begun = place.worker(messages_limit=8, concurrency=2), list[int]()
    tenant = ContextVar("tenant", default=-1)

    @worker.task(max_tries=1, timeout=0.02)
    async def work(number: int) -> None:
        begun.append(number)
        if number % 4 == 0:
            await anyio.sleep(PATIENCE)
        if number % 4 == 1:
            raise ValueError
        if number % 4 == 2:
            tenant.set(number)

    async with worker:
        await worker.enqueue_many([work.enqueue(number) for number in range(12)])
        with anyio.fail_after(PATIENCE):
            report = await worker.run_async()
        assert (sorted(begun), report.processed, report.has_done_enough) == ([*range(8)], 8, True)
        assert await worker.queue_size() == 4


async def test_the_end_of_a_burst_is_no_limit_that_was_reached_and_the_next_run_counts_anew(place: Place) -> None:
    worker = place.worker(messages_limit=10)
    worker.burst = True

    @worker.task
    async def work() -> None: ...

    async with worker:
        for _ in range(2):
            await worker.enqueue_many([work.enqueue() for _ in range(4)])
            with anyio.fail_after(PATIENCE):
                report = await worker.run_async()
            assert (report.processed, report.has_done_enough, worker.processed) == (4, False, 4)


async def test_a_worker_with_too_much_memory_ends(place: Place) -> None:
    assert memory_mib() > 5
    worker = place.worker(memory_limit=1)
    async with worker:
        with anyio.fail_after(PATIENCE):
            assert (await worker.run_async()).has_done_enough
    worker.memory_limit = 1_000_000
    worker.burst = True
    async with worker:
        assert not (await worker.run_async()).has_done_enough


@pytest.mark.parametrize("options", [{"messages_limit": 0}, {"memory_limit": 0.5}, {"messages_limit": "many"}])
async def test_limits_that_make_no_sense_are_refused(place: Place, options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="whole number"):
        place.worker(**options)


async def test_a_worker_tells_where_it_lives_and_how_much_it_has_done(place: Place) -> None:
    worker = place.worker()
    async with worker:
        evidence = worker._client().evidence()
        await Announcer(evidence, worker._codec, worker._live_keys, "busy", WORKER, ["rest"], lambda: 7).tick()
        (busy,) = [one for one in await worker.processes() if one.role == WORKER]
        assert (busy.host, busy.processed, busy.tasks) == (printable(this_host(), LONGEST_HOST), 7, ("rest",))


def test_a_worker_of_an_older_release_does_not_tell_that_and_is_shown() -> None:
    old = _opened("old", {1: WORKER, 2: 1_800_000_000_000, 3: []})
    assert (old.role, old.host, old.processed, old.tasks) == (WORKER, "", 0, None)
    with pytest.raises(Rejected):
        _opened("odd", {1: WORKER, 2: "yesterday", 3: []})
