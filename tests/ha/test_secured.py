"""Sentinel and Cluster with an own CA, client certificates and users: they connect, fail over, and refuse clearly."""

from __future__ import annotations

import re
from collections.abc import Iterator

import anyio
import pytest

from secure_queue import ConfigurationError, Unavailable, Worker
from secure_queue.local.access import LOOPBACK
from secure_queue.local.groups import ClusterGroup, Group, SentinelGroup, until_copied
from secure_queue.local.layout import MASTER
from secure_queue.local.node import Node
from secure_queue.redis.connect import open_link
from secure_queue.redis.slots import slot_of
from secure_queue.redis.urls import parse_url
from tests.fronts import secured
from tests.servers import PATIENCE, eventually, server_binary, started
from tests.worker.places import SECRET, running

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
KINDS = ["sentinels", "cluster"]


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory, no_server_left: None) -> Iterator[Group]:
    with secured(SentinelGroup, tmp_path_factory.mktemp("secured") / "sentinels") as group:
        yield group


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, no_server_left: None) -> Iterator[Group]:
    with secured(ClusterGroup, tmp_path_factory.mktemp("secured") / "cluster") as group:
        yield group


@pytest.mark.crossed
@pytest.mark.parametrize("kind", KINDS)
async def test_tasks_run_and_survive_a_failover_over_tls_with_users(kind: str, request: pytest.FixtureRequest) -> None:
    """Row 33: rows 1 and 12 over TLS."""
    group: Group = request.getfixturevalue(kind)
    queue = f"secured-{request.node.callspec.params['anyio_backend']}"
    worker = Worker(group.url, queue_name=queue, signing_secret=SECRET, handle_signals=False, idle_timeout=5)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        assert (await (await double.enqueue(1)).result(timeout=PATIENCE)).result == 2
        waiting = [double.enqueue(number).start(delay=1) for number in range(20)]
        await worker.enqueue_many(waiting)
        copies = 2 if isinstance(group, SentinelGroup) else 1
        old = await primary_of(group, queue)
        await until_copied(old, copies)
        old.kill()
        assert (await (await double.enqueue(21)).result(timeout=PATIENCE)).result == 42
        assert [(await task.result(timeout=PATIENCE)).result for task in waiting] == [2 * n for n in range(20)]
        assert (await primary_of(group, queue)).port != old.port
    old.start()  # for the tests that follow, which need somebody at its address and no failover
    await old.answering()


async def primary_of(group: Group, queue: str) -> Node:
    if isinstance(group, SentinelGroup):
        return await group.primary()
    assert isinstance(group, ClusterGroup)
    return await group.owner(slot_of(f"{queue}/0".encode()))


@pytest.mark.parametrize("kind", KINDS)
async def test_flat_arguments_reach_what_the_url_reaches(kind: str, request: pytest.FixtureRequest) -> None:
    group: Group = request.getfixturevalue(kind)
    assert group.access.certificates is not None and group.access.logins is not None
    files = group.access.certificates
    login = {"username": "app", "password": group.access.logins.of("app").reveal().decode()}
    tls = {"ssl_ca_certs": files.authority, "ssl_certfile": files.client, "ssl_keyfile": files.client_key}
    if isinstance(group, SentinelGroup):
        nodes = [(LOOPBACK, node.port) for node in group.sentinels]
        worker = Worker(
            sentinel_nodes=nodes,
            sentinel_master=MASTER,
            sentinel_kwargs=login | tls,
            redis_kwargs=login | tls,
            signing_secret=SECRET,
        )
    else:
        seed = f"{LOOPBACK}:{group.nodes[0].port}"
        worker = Worker(cluster_nodes=[seed], redis_kwargs=login | tls, signing_secret=SECRET)
    async with worker:
        assert await worker.queue_size() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_password_is_told_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    url = re.sub(r"//app:[^@]*@", "//app:wrong@", request.getfixturevalue(kind).url)
    await refused(url, "refused the login; check user and password")


async def test_a_wrong_password_for_the_sentinels_is_told_with_their_address(sentinels: SentinelGroup) -> None:
    url = re.sub(r"sentinel_password=[^&]*", "sentinel_password=wrong", sentinels.url)
    await refused(url, rf"{LOOPBACK}:\d+ refused the login")


async def test_a_missing_login_for_the_sentinels_is_told(sentinels: SentinelGroup) -> None:
    url = re.sub(r"&sentinel_username.*", "", sentinels.url)
    await refused(url, rf"{LOOPBACK}:\d+ .*(login|user)")


@pytest.mark.parametrize("kind", KINDS)
async def test_another_authority_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    url = re.sub(r"ssl_ca_certs=[^&]*&ssl_certfile=[^&]*&ssl_keyfile=[^&]*&?", "", request.getfixturevalue(kind).url)
    await refused(url, "the certificate of .* was refused.* check ssl_ca_certs and the host name")


@pytest.mark.crossed
@pytest.mark.parametrize("kind", KINDS)
async def test_without_a_client_certificate_nothing_is_answered(kind: str, request: pytest.FixtureRequest) -> None:
    url = re.sub(r"&ssl_certfile=[^&]*&ssl_keyfile=[^&]*", "", request.getfixturevalue(kind).url)
    await unanswered(url, r"0 of \d (sentinels|cluster nodes) answer.* \(127.0.0.1:\d+: .*check addresses and TLS")


@pytest.mark.crossed
@pytest.mark.parametrize("kind", KINDS)
async def test_speaking_in_the_clear_to_tls_gets_no_answer(kind: str, request: pytest.FixtureRequest) -> None:
    """It must not be let in, whatever it is told."""
    group: Group = request.getfixturevalue(kind)
    url = re.sub(r"[?&]ssl_ca_certs=[^&]*&ssl_certfile=[^&]*&ssl_keyfile=[^&]*", "?", group.url)
    if type(group) in (SentinelGroup, ClusterGroup):
        await unanswered(url.replace("rediss", "redis").replace("?&", "?").rstrip("?"), r"0 of \d")


async def test_a_wrong_master_name_is_told_with_the_right_one(sentinels: SentinelGroup) -> None:
    await refused(sentinels.url.replace(f"/{MASTER}?", "/orders?"), f"'orders', but: {MASTER}")


@pytest.mark.crossed
@pytest.mark.parametrize("kind", KINDS)
async def test_seeds_that_cannot_be_reached_are_waited_for(kind: str, request: pytest.FixtureRequest) -> None:
    url = re.sub(r"@[^/?]*", f"@{LOOPBACK}:1,{LOOPBACK}:2", request.getfixturevalue(kind).url)
    await unanswered(url, r"0 of 2 (sentinels|cluster nodes) answer.*ConnectionRefused.*check addresses and TLS")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what is told is decided without a loop
async def test_a_slot_that_no_node_covers_is_told_with_the_cure() -> None:
    slot = slot_of(b"queue")
    with started(ClusterGroup(server_binary())) as group:
        await eventually(lambda: uncovered(group, slot))
        async with open_link(parse_url(group.url), tag=b"queue", deadline=2) as link:
            with pytest.raises(Unavailable, match=rf"slot {slot} .* redis-cli --cluster fix"):
                await link.command("PING")


async def uncovered(group: ClusterGroup, slot: int) -> bool:
    """Take *slot* from every node that still knows an owner; until nobody does, they tell each other."""
    known = False
    for node in group.nodes:
        if any(first <= slot <= last for first, last, *_ in await node.command("CLUSTER", "SLOTS")):
            await node.command("CLUSTER", "DELSLOTS", str(slot))
            known = True
    return not known


async def refused(url: str, message: str) -> None:
    async with open_link(parse_url(url)) as link:
        with anyio.fail_after(PATIENCE / 2), pytest.raises(ConfigurationError, match=message) as caught:
            await link.command("PING")
    assert "wrong" not in str(caught.value), "no message quotes a password"


async def unanswered(url: str, message: str) -> None:
    async with open_link(parse_url(url), deadline=4) as link:
        with pytest.raises(Unavailable, match=message):
            await link.command("PING")
