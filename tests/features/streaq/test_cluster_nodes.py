"""``cluster_nodes=[(host, port)]`` with ``queue_name="{default}"``. ⚠ In streaQ the braces are the user's to write."""

from __future__ import annotations

import pytest

from secure_queue import Worker
from secure_queue.local.groups import ClusterGroup
from secure_queue.local.node import LOOPBACK
from tests.servers import PATIENCE
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_a_queue_with_braces_and_one_without_are_the_same(real_cluster: ClusterGroup) -> None:
    seed = [(LOOPBACK, real_cluster.nodes[-1].port)]  # a replica, and one is enough
    backend, worker = (
        Worker(cluster_nodes=seed, queue_name=name, signing_secret=SECRET, handle_signals=False)
        for name in ("{braces}", "braces")
    )

    @worker.task(name="double", max_tries=1)
    async def double(number: int) -> int:
        return 2 * number

    async with backend, running(worker):
        task = await backend.enqueue_by_name("double", 4).start(delay=0.1)
        chain = await (double.enqueue(1) | double)
        assert (await task.result(timeout=PATIENCE)).result == 8
        assert (await chain.result(timeout=PATIENCE)).result == 4
