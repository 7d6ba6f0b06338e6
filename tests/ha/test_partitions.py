"""One queue over the slots of a real cluster: all shards work on it, and none of them holds up the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.errors import PartitionUnavailable
from secure_queue.local.groups import ClusterGroup
from secure_queue.partitions import generated_id, named_partition, partition_of
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.slots import slot_of
from secure_queue.redis.urls import parse_url
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

PARTITIONS = 8


def make_worker(url: str, queue: str, **options: Any) -> tuple[Worker[None], list[int]]:
    """A worker of *queue*, and what its task has noted."""
    defaults = {"partitions": PARTITIONS, "durability": "primary", "handle_signals": False, "concurrency": 8}
    worker: Worker[None] = Worker(url, queue_name=queue, signing_secret=SECRET, **(defaults | options))
    noted: list[int] = []

    @worker.task(name="note", ttl=60)
    async def note(number: int) -> int:
        noted.append(number)
        return number

    return worker, noted


def note(worker: Worker[Any], number: int, task_id: str = "") -> Any:
    """A handle; with an id of its own if one is given."""
    task = worker.registry["note"].enqueue(number)
    if task_id:
        task.id = task_id
    return task


def slot(queue: str, partition: int) -> int:
    return slot_of(QueueKeys(queue, ("normal",), partition).tag)


async def test_all_shards_work_on_one_queue(real_cluster: ClusterGroup) -> None:
    worker, noted = make_worker(real_cluster.url, "spread")
    owners = {(await real_cluster.owner(slot("spread", one))).port for one in range(PARTITIONS)}
    assert owners == {node.port for node in real_cluster.primaries}
    await _empty(real_cluster)
    async with running(worker):
        tasks = [note(worker, number) for number in range(4 * PARTITIONS)]
        for number, task in enumerate(tasks):
            task.id = generated_id(task.jti, number % PARTITIONS)
        await worker.enqueue_many([*tasks, *(note(worker, number, f"order-{number}") for number in range(20))])
        assert [(await task.result(timeout=PATIENCE)).result for task in tasks] == list(range(len(tasks)))
        await eventually(lambda: _true(len(noted) == len(tasks) + 20))
        counts = await worker.counts()
        assert (counts.results, counts.workers) == (len(tasks) + 20, 1)


async def test_workers_wait_with_a_bounded_number_of_connections(
    real_cluster: ClusterGroup, anyio_backend: str
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(4):
            worker, _ = make_worker(real_cluster.url, f"bounded-{anyio_backend}", partitions=4)
            await stack.enter_async_context(running(worker))
        # ceil(2 * 4 / 4) for each of four; at first each of them believed to be alone
        await eventually(lambda: _blocked_are(real_cluster, 8))


async def _empty(group: ClusterGroup) -> None:
    for node in group.primaries:
        await node.command("FLUSHALL")


async def _blocked_are(group: ClusterGroup, count: int) -> bool:
    listed = [await node.command("CLIENT", "LIST") for node in group.primaries]
    return sum(lines.count(b" cmd=bzpopmin ") for lines in listed) == count


async def test_a_lost_shard_stops_neither_new_tasks_nor_the_work_of_the_others(cluster: ClusterGroup) -> None:
    worker, noted = make_worker(cluster.url, "lost", deadline=2)
    dead = await cluster.owner(slot("lost", 0))
    lost = {one for one in range(PARTITIONS) if (await cluster.owner(slot("lost", one))).port == dead.port}
    own_id = next(f"order-{n}" for n in range(100) if partition_of(f"order-{n}", PARTITIONS) in lost - {0})
    async with running(worker):
        await worker.enqueue_many([note(worker, -1) for _ in range(10)])
        await eventually(lambda: _true(len(noted) == 10))
        for node in (cluster.replicas[cluster.primaries.index(dead)], dead):
            node.kill()
        async with _producing(worker) as acknowledged:
            await eventually(lambda: _true(len(acknowledged) >= 150))
        late = [named_partition(task_id) for task_id in list(acknowledged)[-50:]]
        assert not lost.intersection(late)
        await eventually(lambda: _true(set(acknowledged.values()) <= set(noted)))
        keyed = note(worker, 4711, own_id)
        with pytest.raises(PartitionUnavailable) as caught:
            await keyed
        assert caught.value.partition in lost
        with pytest.raises(PartitionUnavailable, match="partition 0 does not answer"):
            await worker.counts()
        dead.start()
        await dead.answering()
        await eventually(lambda: _enqueued(keyed))
        assert (await keyed.result(timeout=PATIENCE)).result == 4711


@asynccontextmanager
async def _producing(worker: Worker[Any]) -> AsyncIterator[dict[str, int]]:
    """Enqueue in four lanes; what met the shard when it died is raised to the producer, who goes on with the next task."""
    acknowledged: dict[str, int] = {}

    async def lane(first: int) -> None:
        for number in range(first, 1_000_000, 4):
            task = note(worker, number)
            try:
                await task
            except PartitionUnavailable:
                continue
            acknowledged[task.id] = number
            await anyio.sleep(0.002)  # the pace of the load

    async with anyio.create_task_group() as group:
        for first in range(4):
            group.start_soon(lane, first)
        yield acknowledged
        group.cancel_scope.cancel()


async def _enqueued(task: Any) -> bool:
    try:
        await task
    except PartitionUnavailable:
        return False
    return True


async def test_more_and_fewer_partitions_lose_nothing(real_cluster: ClusterGroup) -> None:
    """Under load, with a worker that knows of four only; ids of one's own keep their place all the time."""
    worker, noted = make_worker(real_cluster.url, "changing", partitions=4)
    await _empty(real_cluster)
    async with running(worker):
        acknowledged: dict[str, int] = {}
        for round_, partitions in enumerate((4, 8, 4)):
            producer, _ = make_worker(real_cluster.url, "changing", partitions=partitions)
            async with producer:
                tasks = [note(producer, 1000 * round_ + number) for number in range(4 * partitions)]
                for number, task in enumerate(tasks):
                    task.id = generated_id(task.jti, number % partitions)
                own = [note(producer, 10_000 + number, f"order-{number}") for number in range(30)]
                await producer.enqueue_many([*tasks, *own])
                assert [task.existed for task in own] == [round_ > 0] * 30
                acknowledged |= {task.id: task.args[0] for task in [*tasks, *own]}
        await eventually(lambda: _true(len(noted) >= len(acknowledged)))
        assert Counter(noted) == Counter(acknowledged.values())
        keys = QueueKeys("changing", ("normal",))
        async with open_link(parse_url(real_cluster.url), tag=keys.tag) as link:
            register = await link.command("HGETALL", keys.config)
        assert register == [b"partitions", b"8", b"key_partitions", b"4"]


async def _true(value: object) -> object:
    return value
