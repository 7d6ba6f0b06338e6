"""Workflows over several partitions of a Sentinel group and of a Cluster, and with a shard that is lost on the way."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Task, TaskFailed, Worker
from secure_queue.local.groups import ClusterGroup, until_copied
from secure_queue.partitions import generated_id
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.slots import slot_of
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

PARTITIONS = 3


def make_worker(url: str, queue: str, **options: Any) -> Worker[None]:
    worker: Worker[None] = Worker(
        url, queue_name=queue, signing_secret=SECRET, handle_signals=False, partitions=PARTITIONS, **options
    )

    @worker.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    @worker.task(name="total")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @worker.task(name="fail", max_tries=1, silent=True)
    async def fail(number: int) -> int:
        raise ValueError("on purpose")

    return worker


def at(task: Task[Any], partition: int) -> Task[Any]:
    """The same handle with an id in a partition."""
    task.id = generated_id(task.jti, partition)
    return task


@pytest.mark.parametrize("kind", ["real_sentinels", "real_cluster"])
async def test_a_workflow_goes_through_all_partitions(kind: str, request: pytest.FixtureRequest) -> None:
    worker = make_worker(request.getfixturevalue(kind).url, f"flows-{kind}")
    double, total, fail = (worker.registry[name] for name in ("double", "total", "fail"))
    async with running(worker):
        chain = at(double.enqueue(1), 0)
        for partition in (1, 2, 0):
            chain = at(chain | double, partition)
        group = at(worker.group(at(double.enqueue(number), number % PARTITIONS) for number in range(9)) | total, 1)
        fallback = at(at(fail.enqueue(5), 2) ^ double, 0)
        broken = at(at(fail.enqueue(5), 1) | double, 2)
        await worker.enqueue_many([chain, group, fallback, broken])
        found = [(await task.result(timeout=PATIENCE)).result for task in (chain, group, fallback)]
        assert found == [16, 72, 10]
        after = await at(double.enqueue(3), 1).start(after=[chain, group.id])
        assert (await after.result(timeout=PATIENCE)).result == 6
        failure = (await broken.result(timeout=PATIENCE)).exception
        assert isinstance(failure, TaskFailed) and failure.remote_type == "secure_queue.ParentFailed"
        assert len((await worker.workflow(group.id)).tasks) == 10


@pytest.mark.parametrize("lost", ["parent", "child"])
async def test_a_shard_that_is_lost_between_an_end_and_its_delivery_loses_nothing(
    lost: str, cluster: ClusterGroup
) -> None:
    """Row 32."""
    worker = make_worker(cluster.url, "lost-flow")
    opened, runs = anyio.Event(), list[int]()

    @worker.task
    async def gate() -> int:
        await opened.wait()
        return 21

    @worker.task
    async def note(number: int) -> int:
        runs.append(number)
        return number

    slots = [slot_of(QueueKeys("lost-flow", ("normal",), one).tag) for one in (0, 1)]
    here, there = [await cluster.owner(slot) for slot in slots]
    assert here.port != there.port
    async with running(worker):
        parent = at(gate.enqueue(), 0)
        child = await at(parent | note, 1)
        await eventually(lambda: _true(len(worker._engine.desk.running) == 1))  # type: ignore[union-attr]
        if lost == "child":
            there.kill()
        else:
            there.pause()
        opened.set()
        assert (await parent.result(timeout=PATIENCE)).result == 21
        if lost == "parent":
            await until_copied(here, 1)
            here.kill()
            there.resume()
        assert (await child.result(timeout=2 * PATIENCE)).result == 21
    assert runs == [21]


async def _true(flag: object) -> object:
    return flag
