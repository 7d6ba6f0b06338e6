"""``redis_pool``: bring your own coredis pool, standalone or cluster."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.pool import ClusterConnectionPool, ConnectionPool

from secure_queue import Worker
from secure_queue.errors import TopologyError
from secure_queue.local.groups import ClusterGroup
from secure_queue.redis.given_pool import servers_of
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
async def test_a_worker_takes_its_servers_from_a_pool(
    kind: str, real_server: Server, request: pytest.FixtureRequest
) -> None:
    if kind == "standalone":
        pool: Any = ConnectionPool(location=UnixDomainSocketLocation(str(real_server.unix_path)))
    else:
        group: ClusterGroup = request.getfixturevalue("real_cluster")
        host, _, port = group.url.partition("://")[2].partition(",")[0].rpartition(":")
        pool = ClusterConnectionPool(startup_nodes=[TCPLocation(host, int(port))])
        for stream in pool.cluster_layout._error_stream:  # nobody opens the pool, so nobody closes it
            stream.close()
    worker = Worker(redis_pool=pool, queue_name="pool", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def one() -> int:
        return 1

    async with running(worker):
        with anyio.fail_after(PATIENCE):
            assert (await (await one.enqueue()).result()).result == 1


def test_what_a_pool_says_of_its_server_is_kept() -> None:
    found = servers_of(ConnectionPool.from_url("redis://user:password@host:1234/5"))
    assert (found.host, found.port, found.db, found.username) == ("host", 1234, 5, "user")  # type: ignore[union-attr]
    assert found.password is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", ["tls", "no-pool", "two-ways"])
def test_what_cannot_be_taken_over_is_refused(wrong: str) -> None:
    pools = {"tls": ConnectionPool.from_url("rediss://host"), "no-pool": "redis://host"}
    with pytest.raises(TopologyError):
        Worker(
            "memory://" if wrong == "two-ways" else None,
            redis_pool=pools.get(wrong, pools["tls"]),
            signing_secret=SECRET,
        )
