"""When, in which order and under which id tasks are enqueued."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from secure_queue import ConfigurationError, SecureQueueError, TaskStatus
from tests.servers import PATIENCE, Server
from tests.worker.places import Place, open_place, running

pytestmark = pytest.mark.anyio


async def test_a_delayed_task_runs_after_its_delay(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def now() -> float:
        return anyio.current_time()

    async with running(worker):
        started = anyio.current_time()
        task = await now.enqueue().start(delay=timedelta(seconds=0.3))
        assert await task.status() is TaskStatus.SCHEDULED
        assert (await task.result(timeout=PATIENCE)).result - started >= 0.3


@pytest.mark.crossed
async def test_a_scheduled_task_runs_at_its_time(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def now() -> datetime:
        return datetime.now(UTC)

    async with running(worker):
        moment = datetime.now(UTC) + timedelta(seconds=1.2)
        task = await now.enqueue().start(schedule=moment)
        assert await task.status() is TaskStatus.SCHEDULED
        assert (await task.result(timeout=PATIENCE)).result >= moment


@pytest.mark.parametrize("moment", [datetime(2001, 1, 1, tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)])
async def test_a_moment_in_the_past_is_now(place: Place, moment: datetime) -> None:
    worker = place.worker()

    @worker.task
    async def one() -> int:
        return 1

    async with running(worker):
        assert (await (await one.enqueue().start(schedule=moment)).result(timeout=PATIENCE)).result == 1


async def test_times_that_make_no_sense_are_refused(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    for wrong in (
        {"delay": -1},
        {"schedule": datetime(2030, 1, 1)},
        {"delay": 1, "schedule": datetime(2030, 1, 1, tzinfo=UTC)},
        {"priority": "no such\nname"},
        {"schedule": datetime.max.replace(tzinfo=UTC)},
    ):
        with pytest.raises(ConfigurationError):
            noop.enqueue().start(**wrong)  # type: ignore[arg-type]


async def test_higher_priorities_run_first_and_each_in_order(place: Place) -> None:
    worker = place.worker(priorities=["low", "high"], concurrency=1, prefetch=0)
    ran: list[str] = []

    @worker.task
    async def note(name: str) -> None:
        ran.append(f"{name} {note.context.priority}")

    async with worker:
        tasks = [note.enqueue("a"), note.enqueue("b").start(priority="high"), note.enqueue("c")]
        tasks += [note.enqueue("d").start(priority="high"), note.enqueue("e").start(priority="low")]
        await worker.enqueue_many(tasks)
        assert await worker.queue_size() == 5
        worker.burst = True
        await worker.run_async()
    assert ran == ["b high", "d high", "a low", "c low", "e low"]


async def test_a_priority_that_the_worker_does_not_have_is_refused(place: Place) -> None:
    worker = place.worker(priorities=["low", "high"])

    @worker.task
    async def noop() -> None: ...

    async with worker:
        with pytest.raises(ConfigurationError, match="priorities="):
            await noop.enqueue().start(priority="urgent")


async def test_an_id_of_ones_own_is_enqueued_once(place: Place) -> None:
    worker = place.worker()
    runs: list[int] = []

    @worker.task
    async def note(number: int) -> int:
        runs.append(number)
        return number

    async with running(worker):
        first, second = note.enqueue(1), note.enqueue(2)
        first.id = second.id = "order:17"
        await first
        assert first.existed is False
        assert (await first.result(timeout=PATIENCE)).result == 1
        await second
        assert second.existed is True
        assert (await second.result(timeout=PATIENCE)).result == 1
        await worker.enqueue_many([second, note.enqueue(3)])
        assert second.existed is True
    assert 2 not in runs


async def test_enqueueing_a_handle_again_is_safe(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def one() -> int:
        return 1

    async with worker:
        task = one.enqueue()
        await task
        await task
        assert await worker.queue_size() == 1


@pytest.mark.parametrize("task_id", ["", "a b", "a\nb", "!ra", "ü", "{q}", "x" * 129, "\x00"])
async def test_an_id_outside_the_alphabet_is_refused(place: Place, task_id: str) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    async with worker:
        task = noop.enqueue()
        task.id = task_id
        with pytest.raises(ConfigurationError, match="task id"):
            await task
        assert await worker.queue_size() == 0


async def test_many_tasks_are_enqueued_in_order(place: Place) -> None:
    worker = place.worker(concurrency=1, prefetch=100)  # what is given back for want of pace may overtake
    ran: list[int] = []

    @worker.task(ttl=0)
    async def note(number: int) -> None:
        ran.append(number)

    async with worker:
        await worker.enqueue_many([note.enqueue(number) for number in range(1200)])
        await worker.enqueue_many([])
        worker.burst = True
        await worker.run_async()
    assert ran == list(range(1200))


async def test_concurrent_enqueues_go_out_together(real_server: Server) -> None:
    async with open_place("server", real_server) as place:
        worker = place.worker()

        @worker.task
        async def noop(number: int) -> None: ...

        async def enqueue(number: int) -> None:
            await noop.enqueue(number)

        async with worker:
            calls = real_server.calls("evalsha")
            async with anyio.create_task_group() as group:
                for number in range(300):
                    group.start_soon(enqueue, number)
            assert await worker.queue_size() == 300
            assert real_server.calls("evalsha") - calls <= 10


async def test_a_task_enqueues_others(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def leaf(number: int) -> int:
        return number

    @worker.task
    async def root() -> int:
        tasks = [leaf.enqueue(number) for number in range(3)]
        await worker.enqueue_many(tasks)
        return sum([(await task.result(timeout=PATIENCE)).result for task in tasks])

    async with running(worker):
        assert (await (await root.enqueue()).result(timeout=PATIENCE)).result == 3


async def test_a_worker_object_that_is_not_open_says_so(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    with pytest.raises(SecureQueueError, match="async with worker"):
        await noop.enqueue()
    async with worker:
        with pytest.raises(SecureQueueError, match="entered already"):
            await worker.__aenter__()
        await noop.enqueue()
    async with worker:
        assert await worker.queue_size() == 1


async def test_every_task_runs_once(place: Place) -> None:
    workers = [place.worker(concurrency=3) for _ in range(3)]
    runs: Counter[int] = Counter()
    done = anyio.Event()
    total = 600

    async def count(number: int) -> None:
        runs[number] += 1
        if len(runs) == total:
            done.set()

    for worker in workers:
        task = worker.task(name="count", ttl=0)(count)
    async with running(workers[0]), running(workers[1]), running(workers[2]):
        await workers[2].enqueue_many([task.enqueue(number) for number in range(total)])
        await done.wait()
    assert set(runs.values()) == {1}
