"""``sentinel_master="mymaster"`` and ``sentinel_nodes=[(host, port), …]``: two arguments, then failover is handled.

⚠ A worker of streaQ ends at its first connection error. The failovers themselves are in ``tests/ha``.
"""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.local.groups import MASTER, SentinelGroup
from secure_queue.local.node import LOOPBACK
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


def shop(**options: Any) -> tuple[Worker[Any], Any]:
    worker: Worker[Any] = Worker(queue_name="ha", signing_secret=SECRET, handle_signals=False, **options)

    @worker.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    return worker, double


async def still_works(double: Any) -> None:
    assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8


async def test_two_arguments_are_enough_and_cut_connections_are_no_end(real_sentinels: SentinelGroup) -> None:
    nodes = [(LOOPBACK, node.port) for node in real_sentinels.sentinels]
    worker, double = shop(sentinel_master=MASTER, sentinel_nodes=nodes)
    async with running(worker):
        await still_works(double)
        primary = await real_sentinels.primary()
        assert int(await primary.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")) > 0
        await still_works(double)


async def test_a_server_that_is_killed_and_restarted_ends_no_worker_and_loses_nothing(server: Server) -> None:
    worker, double = shop(redis_url=f"unix://{server.unix_path}")
    async with running(worker):
        await still_works(double)
        later = await double.enqueue(21).start(delay=0.5)
        server.kill()
        server.start()
        assert (await later.result(timeout=PATIENCE)).result == 42
        await still_works(double)
