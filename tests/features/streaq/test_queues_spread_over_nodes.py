"""Queues of different names spread the load over the nodes of a cluster. ⚠ In streaQ one queue is one slot on one node."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.local.groups import ClusterGroup
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.slots import slot_of
from tests.servers import PATIENCE
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_one_queue_uses_the_whole_cluster(real_cluster: ClusterGroup) -> None:
    worker: Worker[Any] = Worker(
        real_cluster.url, queue_name="wide", partitions=8, signing_secret=SECRET, handle_signals=False
    )

    @worker.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        tasks = [double.enqueue(number) for number in range(48)]
        await worker.enqueue_many(tasks)
        assert [(await task.result(timeout=PATIENCE)).result for task in tasks] == [2 * n for n in range(48)]
    slots = {slot_of(QueueKeys("wide", ("normal",), number).tag) for number in range(8)}
    owners = {(await real_cluster.owner(slot)).port for slot in slots}
    assert owners == {node.port for node in real_cluster.primaries}


def test_queues_of_different_names_lie_in_different_slots_and_a_script_in_one() -> None:
    queues = [QueueKeys(name, ("low", "high")) for name in ("default", "mail", "billing")]
    slots = [{slot_of(key.partition(b"{")[2].partition(b"}")[0]) for key in keys.fixed} for keys in queues]
    assert [len(each) for each in slots] == [1, 1, 1]
    assert len(set.union(*slots)) == 3
