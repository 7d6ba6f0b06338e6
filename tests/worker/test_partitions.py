"""One queue over several partitions, through the public API: the same for those who use it as a queue of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, Task, TaskStatus
from secure_queue.partitions import STRIDE, generated_id, named_partition, partition_of
from secure_queue.redis.keys import QueueKeys
from tests.servers import PATIENCE, eventually
from tests.worker.places import PRIORITY, QUEUE, Place, running

pytestmark = pytest.mark.anyio


def keys_of(partition: int) -> QueueKeys:
    return QueueKeys(QUEUE, (PRIORITY,), partition)


def everywhere(make: Callable[[], Task[Any]], partitions: int, each: int) -> list[Task[Any]]:
    """Handles for *each* tasks in every partition, in turn."""
    tasks = [make() for _ in range(partitions * each)]
    for number, task in enumerate(tasks):
        task.id = generated_id(task.jti, number % partitions)
    return tasks


async def test_tasks_are_spread_and_run_wherever_they_are(place: Place) -> None:
    worker = place.worker(partitions=4)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        tasks = [double.enqueue(number) for number in range(4 * STRIDE)]
        own = [double.enqueue(number) for number in range(40)]
        for number, task in enumerate(own):
            task.id = f"order-{number}"
        await worker.enqueue_many([*tasks, *own])
        single = await double.enqueue(1)
        for handles in (tasks, own):
            results = [(await task.result(timeout=PATIENCE)).result for task in handles]
            assert results == [2 * number for number in range(len(handles))]
        assert (await single.result(timeout=PATIENCE)).result == 2
        assert (await worker.result_by_id("order-3", PATIENCE)).result == 6
    assert len({named_partition(task.id) for task in tasks}) == 4
    for task in tasks + own:
        assert await place.link.command("EXISTS", keys_of(partition_of(task.id, 4)).result(task.id.encode())) == 1


async def test_an_id_is_fixed_when_it_is_looked_at_and_enqueued_once(place: Place) -> None:
    worker = place.worker(partitions=4)

    @worker.task
    async def noop() -> None: ...

    async with worker:
        task, own = noop.enqueue(), noop.enqueue()
        own.id, task_id = "order-1", task.id
        await worker.enqueue_many([task, own])
        assert (task.id, task.existed, own.existed) == (task_id, False, False)
        await worker.enqueue_many([task, own])
        assert (task.id, task.existed, own.existed) == (task_id, True, True)
        again = noop.enqueue()
        again.id = "order-1"
        await again
        assert again.existed is True
        assert await worker.queue_size() == 2


async def test_with_one_partition_the_keys_are_what_they_were(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    async with running(worker):
        own = noop.enqueue()
        own.id = "order-1"
        await worker.enqueue_many([noop.enqueue() for _ in range(20)] + [own])
        await own.result(timeout=PATIENCE)
        await worker.counts()
        keys = await place.link.command("KEYS", "*")
    assert isinstance(keys, list)
    assert {key for key in keys if not key.startswith(place.keys.prefix)} == set()  # type: ignore[union-attr, arg-type]
    assert place.keys.config not in keys


async def test_ids_of_ones_own_stay_where_the_queue_has_first_put_them(place: Place) -> None:
    one, four = place.worker(), place.worker(partitions=4)

    @four.task(name="noop")
    @one.task(name="noop")
    async def noop() -> None: ...

    def own(worker: object, number: int) -> object:
        task = worker.registry["noop"].enqueue()  # type: ignore[attr-defined]
        task.id = f"order-{number}"
        return task

    async with one, four:
        await one.enqueue_many([own(one, number) for number in range(10)])  # type: ignore[misc]
        again = [own(four, number) for number in range(20)]
        await four.enqueue_many(again)  # type: ignore[arg-type]
        assert [task.existed for task in again] == [True] * 10 + [False] * 10  # type: ignore[attr-defined]
        assert await four.queue_size() == 20
        assert await one.queue_size() == 20
    assert await place.link.command("HGETALL", place.keys.config) == [b"partitions", b"4", b"key_partitions", b"1"]


async def test_a_worker_serves_the_partitions_of_a_producer_that_has_more(place: Place) -> None:
    worker, producer = place.worker(partitions=2), place.worker(partitions=8)

    @producer.task(name="echo")
    @worker.task(name="echo")
    async def echo(number: int) -> int:
        return number

    async with running(worker), producer:
        tasks = everywhere(lambda: producer.registry["echo"].enqueue(1), 8, 2)
        await producer.enqueue_many(tasks)
        assert [(await task.result(timeout=PATIENCE)).result for task in tasks] == [1] * 16
        fewer = [worker.registry["echo"].enqueue(number) for number in range(2 * STRIDE)]
        assert {named_partition(task.id) for task in fewer} == {0, 1}
        assert (await worker.counts()).results == 16


async def test_pages_go_from_partition_to_partition(place: Place) -> None:
    worker = place.worker(partitions=4, priorities=["low", "high"])

    @worker.task
    async def noop() -> None: ...

    async with worker:
        tasks = [task.start(priority=name) for name in ("low", "high") for task in everywhere(noop.enqueue, 4, 5)]
        await worker.enqueue_many(tasks)
        found: list[str] = []
        for offset in range(0, 40, 7):
            page = await worker.get_tasks_by_status(TaskStatus.QUEUED, limit=7, offset=offset)
            found += [row.task_id for row in page]
        ordered = sorted(tasks, key=lambda task: (task.priority == "low", named_partition(task.id)))
        assert found == [task.id for task in ordered]
        assert await worker.get_tasks_by_status(TaskStatus.QUEUED, limit=9, offset=40) == []


@pytest.mark.crossed
async def test_dead_letters_and_aborts_are_found_in_every_partition(place: Place) -> None:
    worker = place.worker(partitions=4)

    @worker.task(max_tries=1)
    async def fail() -> None:
        raise ValueError

    @worker.task
    async def wait() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        tasks = everywhere(fail.enqueue, 4, 2)
        await worker.enqueue_many(tasks)
        for task in tasks:
            assert (await task.result(timeout=PATIENCE)).status is TaskStatus.FAILED
        letters = await worker.dead_letters(limit=1000)
        assert {letter.task_id for letter in letters} == {task.id for task in tasks}
        assert [named_partition(letter.task_id) for letter in letters] == sorted(
            named_partition(task.id) or 0 for task in tasks
        )
        for letter in letters[::2]:
            await worker.delete_dead_letter(letter.task_id)
        assert (await worker.counts()).dead == 4
        running_ones = everywhere(wait.enqueue, 2, 1)
        await worker.enqueue_many(running_ones)
        await eventually(lambda: _running(worker, 2))
        assert [await task.abort(timeout=PATIENCE) for task in running_ones] == [True, True]


async def _running(worker: object, count: int) -> bool:
    return (await worker.counts()).running == count  # type: ignore[attr-defined, no-any-return]


async def test_a_burst_ends_when_every_partition_is_empty(place: Place) -> None:
    worker = place.worker(partitions=8)
    ran: list[int] = []

    @worker.task(ttl=0)
    async def note(number: int) -> None:
        ran.append(number)

    async with worker:
        await worker.enqueue_many(everywhere(lambda: note.enqueue(1), 8, 10))
        worker.burst = True
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
    assert len(ran) == 80


async def test_a_worker_with_one_seat_holds_one_task_however_many_partitions_have_some(place: Place) -> None:
    worker, producer = place.worker(partitions=8, concurrency=1, prefetch=0), place.worker(partitions=8)
    started = anyio.Event()

    @producer.task(name="hold")
    @worker.task(name="hold")
    async def hold() -> None:
        started.set()
        await anyio.sleep_forever()

    async with running(worker), producer:
        await producer.enqueue_many(everywhere(producer.registry["hold"].enqueue, 8, 2))
        await started.wait()
        await eventually(lambda: _running(producer, 1))
        for partition in range(8):  # every lane has looked by now, and gave back what has no seat
            await place.link.command("ZADD", keys_of(partition).wake, 0, "0")
        await eventually(lambda: _running(producer, 1))


async def test_no_partition_waits_for_the_backlog_of_another(place: Place) -> None:
    worker = place.worker(partitions=4, concurrency=2)
    order: list[int | None] = []

    @worker.task(ttl=0)
    async def note() -> None:
        order.append(named_partition(note.context.task_id))
        await anyio.sleep(0.001)

    async with worker:
        await worker.enqueue_many(everywhere(note.enqueue, 4, 50))
    async with running(worker):
        await eventually(lambda: _has(order, 200))
    assert set(order[:100]) == {0, 1, 2, 3}


async def _has(order: list[int | None], count: int) -> bool:
    return len(order) >= count


async def test_a_genuine_task_that_was_moved_to_another_partition_is_put_aside(place: Place) -> None:
    worker = place.worker(partitions=2)
    ran = []

    @worker.task
    async def note() -> None:
        ran.append(note.context.task_id)

    async with running(worker):
        task = note.enqueue().start(delay=60)
        task.id = generated_id(task.jti, 1)
        await task
        sealed = await place.link.command("HGET", keys_of(1).bucket(task.id.encode()), task.id)
        assert isinstance(sealed, bytes)
        await place.put_raw(task.id.encode(), sealed)
        await eventually(place.quarantine)
        assert await place.quarantine() == {task.id.encode(): "wrong-partition"}
        assert await task.status() is TaskStatus.SCHEDULED
    assert ran == []


async def test_an_id_that_names_a_partition_that_is_not_there_is_refused(place: Place) -> None:
    worker = place.worker(partitions=2)

    @worker.task
    async def noop() -> None: ...

    async with worker:
        task = noop.enqueue()
        task.id = "5." + "0" * 32
        with pytest.raises(ConfigurationError, match="names partition 5"):
            await task


async def test_partitions_that_nobody_needs_are_given_up_and_no_others(place: Place) -> None:
    two, eight = place.worker(partitions=2), place.worker(partitions=8)

    @eight.task(name="noop")
    @two.task(name="noop")
    async def noop() -> None: ...

    async with two:
        await two.registry["noop"].enqueue()  # the first use: ids of one's own are spread over two
        async with eight:
            await eight.enqueue_many(everywhere(eight.registry["noop"].enqueue, 6, 1))
            assert await two.shrink_partitions() == 6
            assert [sum(one.ready.values()) for one in (await two.partition_counts())[2:]] == [1] * 4
        two.burst = True
        await two.run_async()
        assert await two.shrink_partitions() == 2
        assert len(await two.partition_counts()) == 2
