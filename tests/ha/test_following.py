"""A link goes where the primary is, and says what to check when it cannot."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import ConfigurationError, Unavailable, Worker
from secure_queue.local.groups import MASTER, ClusterGroup, SentinelGroup, cluster_info, until_copied
from secure_queue.local.node import LOOPBACK, Node
from secure_queue.redis.connect import open_link
from secure_queue.redis.slots import SLOTS, slot_of
from secure_queue.redis.urls import parse_url
from tests.chaos.proxy import Proxy
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["real_sentinels", "real_cluster"])
async def test_a_worker_serves_its_queue_on_every_topology(kind: str, request: pytest.FixtureRequest) -> None:
    group = request.getfixturevalue(kind)
    worker = Worker(group.url, queue_name=f"serve-{kind}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        tasks = [double.enqueue(number).start(delay=0.1 * (number % 2)) for number in range(50)]
        await worker.enqueue_many(tasks)
        assert [(await task.result(timeout=PATIENCE)).result for task in tasks] == [2 * number for number in range(50)]


async def test_flat_arguments_lead_to_the_same_place(real_sentinels: SentinelGroup, real_cluster: ClusterGroup) -> None:
    sentinel_nodes = [(LOOPBACK, node.port) for node in real_sentinels.sentinels]
    cluster_nodes = [f"{LOOPBACK}:{real_cluster.nodes[-1].port}"]  # one seed, and a replica, is enough
    for nodes in ({"sentinel_nodes": sentinel_nodes, "sentinel_master": MASTER}, {"cluster_nodes": cluster_nodes}):
        worker = Worker(**nodes, queue_name="flat", signing_secret=SECRET)  # type: ignore[arg-type]
        async with worker:
            assert await worker.queue_size() == 0


async def test_a_link_follows_the_primary_that_sentinels_promote(sentinels: SentinelGroup) -> None:
    async with open_link(parse_url(sentinels.url)) as link:
        await link.command("SET", "before", "failover")
        old = await sentinels.primary()
        await until_copied(old, 2)
        old.kill()
        assert await link.command("GET", "before") == b"failover"
        await eventually(lambda: is_replaced(sentinels, old))  # a majority knew it earlier


async def is_replaced(sentinels: SentinelGroup, old: Node) -> bool:
    return (await sentinels.primary()).port != old.port


async def test_a_link_follows_the_owner_of_its_slot(cluster: ClusterGroup) -> None:
    async with open_link(parse_url(cluster.url), tag=b"queue") as link:
        await link.command("SET", "{queue}before", "failover")
        old = await cluster.owner(slot_of(b"queue"))
        await until_copied(old, 1)
        old.kill()
        assert await link.command("GET", "{queue}before") == b"failover"


async def test_a_node_that_has_left_the_cluster_is_not_asked_any_more(cluster: ClusterGroup) -> None:
    """Its address may belong to another cluster by now, whose epoch may be the higher one."""
    leaver = cluster.replicas[0]
    async with open_link(parse_url(cluster.url), tag=b"queue") as link:
        await link.command("SET", "{queue}here", "and nowhere else")
        await eventually(lambda: is_asked(leaver))
        name: bytes = await leaver.command("CLUSTER", "MYID")
        for node in cluster.nodes:
            if node is not leaver:
                await node.command("CLUSTER", "FORGET", name.decode())
        await leaver.command("CLUSTER", "RESET", "HARD")
        await eventually(lambda: is_left_alone(leaver))
        await leaver.command("CLUSTER", "SET-CONFIG-EPOCH", "1000")
        await leaver.command("CLUSTER", "ADDSLOTS", *map(str, range(SLOTS)))
        await eventually(lambda: is_healthy(leaver))
        assert await link.command("GET", "{queue}here") == b"and nowhere else"
        assert await is_left_alone(leaver)


async def is_asked(node: Node) -> bool:
    """Whether anybody but this very question is connected."""
    raw: bytes = await node.command("CLIENT", "LIST", "TYPE", "normal")
    return raw.count(b"cmd=") > 1


async def is_left_alone(node: Node) -> bool:
    return not await is_asked(node)


async def is_healthy(node: Node) -> bool:
    return (await cluster_info(node))["cluster_state"] == "ok"


async def test_one_sentinel_that_hangs_stops_nobody(sentinels: SentinelGroup) -> None:
    sentinels.sentinels[0].pause()
    async with open_link(parse_url(sentinels.url)) as link:
        await link.command("SET", "before", "failover")
        primary = sentinels.servers[0]  # of a new group
        await until_copied(primary, 2)
        primary.kill()
        assert await link.command("GET", "before") == b"failover"


@pytest.mark.parametrize("kind", ["real_sentinels", "real_cluster"])
async def test_connections_that_open_slower_than_a_look_takes_are_opened_all_the_same(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """So it is with TLS on a busy machine; an opening that began anew with every look would never come to its end."""
    group = request.getfixturevalue(kind)
    slow = Proxy(
        parse_url(group.url).seeds[0].port if kind == "real_cluster" else group.sentinels[0].port, opening_s=1.5
    )
    url = f"redis+cluster://{LOOPBACK}:{{}}" if kind == "real_cluster" else f"redis+sentinel://{LOOPBACK}:{{}}/{MASTER}"
    async with slow.serving(), open_link(parse_url(url.format(slow.port)), tag=b"queue", deadline=PATIENCE) as link:
        assert await link.command("GET", "{queue}nothing") is None


async def test_a_primary_that_is_not_confirmed_by_a_majority_is_not_believed(sentinels: SentinelGroup) -> None:
    for sentinel in sentinels.sentinels[1:]:
        sentinel.kill()
    async with open_link(parse_url(sentinels.url), deadline=1) as link:
        with pytest.raises(Unavailable, match="1 of 3 sentinels answer"):
            await link.command("PING")


async def test_a_wrong_name_is_told_with_the_right_ones(real_sentinels: SentinelGroup) -> None:
    url = real_sentinels.url.replace(f"/{MASTER}", "/orders")
    async with open_link(parse_url(url)) as link:
        with pytest.raises(ConfigurationError, match=f"'orders', but: {MASTER}"):
            await link.command("PING")


async def test_a_single_server_is_no_cluster(server: Server) -> None:
    with Server(tcp=True) as single:
        async with open_link(parse_url(f"redis+cluster://{LOOPBACK}:{single.port}")) as link:
            with pytest.raises(ConfigurationError, match="redis:// URL"):
                await link.command("PING")


async def test_one_node_of_a_cluster_does_not_do_for_all_of_it(real_cluster: ClusterGroup) -> None:
    async with open_link(parse_url(f"redis://{LOOPBACK}:{(await other_owner(real_cluster)).port}")) as link:
        with anyio.fail_after(PATIENCE / 4), pytest.raises(ConfigurationError, match=r"use a redis\+cluster:// URL"):
            await link.command("GET", "{queue}here")


async def other_owner(cluster: ClusterGroup) -> Node:
    """A primary that does not have the slot of the queue."""
    owner = await cluster.owner(slot_of(b"queue"))
    return next(node for node in cluster.primaries if node.port != owner.port)


async def test_a_sentinel_is_no_server(real_sentinels: SentinelGroup) -> None:
    async with open_link(parse_url(f"redis://{LOOPBACK}:{real_sentinels.sentinels[0].port}")) as link:
        with pytest.raises(ConfigurationError, match=r"redis\+sentinel:// for the address of a sentinel"):
            await link.command("GET", "here")


async def test_a_server_is_no_sentinel() -> None:
    with Server(tcp=True) as single:
        async with open_link(parse_url(f"redis+sentinel://{LOOPBACK}:{single.port}/{MASTER}")) as link:
            with pytest.raises(ConfigurationError, match=rf"{single.port} is no sentinel"):
                await link.command("PING")


async def test_a_sentinel_is_no_cluster(real_sentinels: SentinelGroup) -> None:
    async with open_link(parse_url(f"redis+cluster://{LOOPBACK}:{real_sentinels.sentinels[0].port}")) as link:
        with pytest.raises(ConfigurationError, match="is no cluster node"):
            await link.command("PING")


@pytest.mark.parametrize("kind", ["real_sentinels", "real_cluster"])
async def test_a_refused_login_is_told_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(kind).url.replace("://", "://nobody:wrong@")
    async with open_link(parse_url(url)) as link:
        with anyio.fail_after(PATIENCE / 4), pytest.raises(ConfigurationError, match="refused the login"):
            await link.command("PING")


@pytest.mark.parametrize("scheme", ["redis+sentinel://{}/mymaster", "redis+cluster://{}"])
async def test_seeds_that_nobody_listens_on_are_waited_for(scheme: str) -> None:
    async with open_link(parse_url(scheme.format(f"{LOOPBACK}:1")), deadline=1) as link:
        with pytest.raises(Unavailable, match="0 of 1"):
            await link.command("PING")
