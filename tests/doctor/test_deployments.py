"""The doctor at real servers: well and badly configured, without rights, with sentinels and slots that are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.doctor.facts import SLOTS
from secure_queue.doctor.findings import Finding, Level
from secure_queue.doctor.rehearse import rehearse
from secure_queue.doctor.report import FINDINGS, HEALTHY, NOT_CHECKED, DoctorReport
from secure_queue.errors import ConfigurationError
from secure_queue.local.groups import MASTER, ClusterGroup, SentinelGroup
from secure_queue.local.node import Node
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link
from secure_queue.redis.scripts import Script
from secure_queue.redis.slots import slot_of
from tests.connections.test_tls import Authority, tls_in_front_of
from tests.servers import Server, eventually, free_port, server_binary, started
from tests.tour.blocks import ROOT

pytestmark = pytest.mark.anyio

ON_ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For what is slow to build: what is found there is decided without I/O, and others ask all topologies on both loops."""

SECRET = "Zx4kQ9vT1bLw7RmY2cNd8HsJ5gPf0aUe3oXiVqB6KtE"
PASSWORD = "a-password-that-nobody-may-read"
QUEUE = "shop"


def worker_at(url: str, secret: str = SECRET) -> Worker[None]:
    return Worker(url, signing_secret=secret, queue_name=QUEUE)


async def examined(url: str) -> DoctorReport:
    return await worker_at(url).doctor()


def of(report: DoctorReport, check: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def level(report: DoctorReport, check: str) -> Level:
    """The worst level of one check."""
    return of(report, check)[0].level


def is_slow(finding: Finding) -> bool:
    """The one finding that depends on what else this machine does."""
    return finding.check == "rehearsal" and finding.level is Level.WARN and " took " in finding.reason


def documented_rights() -> list[str]:
    """The ACL rules that the page gives, as one would type them."""
    page = (ROOT / "docs" / "doctor.md").read_text("utf-8")
    return page.split("```acl\n")[1].split("```")[0].split()


async def linked(replicas: list[Node]) -> None:
    """Wait until every replica takes itself for linked: right after its start that may be later than its primary does."""

    async def up() -> bool:
        told = [await replica.command("INFO", "replication") for replica in replicas]
        return all(b"master_link_status:up" in one for one in told)

    await eventually(up)


@pytest.fixture
def hardened() -> Iterator[tuple[Server, str]]:
    """A server as the page recommends it, and the URL of the queue's own user there."""
    with Server(tcp=True, maxmemory="256mb") as server:
        rules = [f">{PASSWORD}" if word == ">PASSWORD" else word for word in documented_rights()]
        assert rules[:3] == ["ACL", "SETUSER", "shop-queue"]
        server.command(*rules)
        yield server, f"redis://shop-queue:{PASSWORD}@127.0.0.1:{server.port}"


async def test_a_server_and_a_user_as_the_page_says_have_no_findings(hardened: tuple[Server, str]) -> None:
    server, url = hardened
    report = await examined(url)
    assert [finding for finding in report.findings if finding.level is not Level.OK and not is_slow(finding)] == []
    assert report.exit_code() == HEALTHY
    assert server.command("DBSIZE") == 0


async def test_such_a_user_can_do_all_that_producers_and_workers_do(hardened: tuple[Server, str]) -> None:
    _, url = hardened
    worker: Worker[None] = Worker(url, signing_secret=SECRET, queue_name=QUEUE, handle_signals=False)

    @worker.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with worker, anyio.create_task_group() as group:
        task = await double.enqueue(21)
        group.start_soon(worker.run_async)
        assert (await task.result(timeout=20)).result == 42
        assert level(await worker.doctor(), "backlog-age") is Level.OK
        worker.stop()


async def test_rights_that_are_missing_are_named_one_by_one(hardened: tuple[Server, str]) -> None:
    server, url = hardened
    server.command("ACL", "SETUSER", "shop-queue", "-hset", "-bzpopmin", "-subscribe", "-info", "-wait")
    report = await examined(url)
    assert of(report, "rights")[0].reason == "this user may not call hset, bzpopmin, subscribe"
    assert "+hset +bzpopmin +subscribe &sq:{shop/0}:done:*" in of(report, "rights")[0].fix
    assert of(report, "eviction")[0].reason == "this user may not call INFO"
    assert level(report, "confirmation") is Level.UNKNOWN
    assert report.exit_code() == FINDINGS
    assert server.command("DBSIZE") == 0


async def test_rights_that_are_too_many_are_told_to_a_user_who_may_not_look_at_them(
    hardened: tuple[Server, str],
) -> None:
    server, url = hardened
    server.command("ACL", "SETUSER", "shop-queue", "+@all", "-acl", "+acl|whoami")
    assert (
        of(await examined(url), "dangerous")[0].reason
        == "the user shop-queue of this queue may call LASTSAVE, SLOWLOG LEN"
    )


async def test_keys_that_the_user_may_not_touch_are_told_with_their_pattern(hardened: tuple[Server, str]) -> None:
    server, url = hardened
    server.command("ACL", "SETUSER", "shop-queue", "resetkeys", "~sq:{other/*")
    report = await examined(url)
    assert level(report, "rights") is Level.FAIL
    assert "~sq:{shop/0}:*" in of(report, "rights")[0].fix


async def test_neither_passwords_nor_payloads_are_told(hardened: tuple[Server, str]) -> None:
    server, url = hardened
    server.command("CONFIG", "SET", "masterauth", "secret-of-replicas")
    worker = worker_at(url)

    @worker.task(name="pay")
    async def pay(card: str) -> None: ...

    async with worker:
        await pay.enqueue("4111-1111")
    server.command("HSET", f"sq:{{{QUEUE}/0}}:tasks:3", "evil", "not-an-envelope-at-all")
    for text in (json.dumps((await worker.doctor()).to_plain()), repr(await worker.doctor())):
        assert "evil" not in text
        for secret in (PASSWORD, "secret-of-replicas", "4111-1111", "not-an-envelope", SECRET):
            assert secret not in text


@pytest.fixture
def careless() -> Iterator[Server]:
    """A server that does everything wrong that its configuration allows."""
    wrong = {
        "maxmemory-policy": "allkeys-lru",
        "maxmemory": "3mb",
        "appendonly": "no",
        "timeout": "300",
        "tcp-keepalive": "0",
        "maxclients": "100",
        "min-replicas-to-write": "1",
    }
    with Server(tcp=True, **wrong) as server:
        server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
        yield server


@ON_ONE_LOOP
async def test_a_careless_configuration_is_found_piece_by_piece(careless: Server) -> None:
    report = await examined(f"redis://127.0.0.1:{careless.port}")
    failed = {finding.check for finding in report.findings if finding.level is Level.FAIL}
    warned = {finding.check for finding in report.findings if finding.level is Level.WARN}
    assert failed >= {"eviction", "persistence", "min-replicas", "rehearsal"}
    assert warned >= {"timeouts", "clients", "output-buffers", "login", "dangerous"}
    assert "FLUSHALL" in of(report, "dangerous")[0].reason
    assert report.exit_code() == FINDINGS


async def test_a_queue_with_tasks_that_nobody_can_open_or_run_is_told(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    url = f"unix://{real_server.unix_path}"
    foreign = worker_at(url, format_key(generate_key("foreign")))
    foreign.announces = False  # what it says of itself would be one more

    @foreign.task(name="pay")
    async def pay() -> None: ...

    async with foreign:
        await pay.enqueue()
    prefix = f"sq:{{{QUEUE}/0}}:"
    real_server.command("ZADD", f"{prefix}leases", 1, "long-ago")
    real_server.command("SET", f"{prefix}strange", 1)
    before = sorted(real_server.command("KEYS", "*"))
    report = await examined(url)
    assert "1 of" in of(report, "keys")[0].reason
    assert level(report, "payloads") is Level.WARN
    reasons = " / ".join(finding.reason for finding in of(report, "backlog-age"))
    assert "no worker lives; ready tasks: 1" in reasons
    assert "was not taken back" in reasons
    assert sorted(real_server.command("KEYS", "*")) == before
    real_server.command("FLUSHALL")


async def test_nobody_there_is_no_verdict_about_anything() -> None:
    report = await examined(f"redis://127.0.0.1:{free_port()}")
    assert report.exit_code() == NOT_CHECKED
    assert {finding.check for finding in report.findings} == {"reachable", "primary"}


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
async def test_a_certificate_file_that_is_not_there_is_no_finding_either(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ssl_ca_certs"):
        await examined(f"rediss{kind}://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/none.pem")


class HaltingLink:
    """A link that never answers after it has stored tasks."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.stored = anyio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def run_assured(self, script: Script, *rest: Any) -> Any:
        answer = await self._link.run_assured(script, *rest)
        if script.name == "enqueue":
            self.stored.set()
            await anyio.sleep_forever()
        return answer


async def test_a_rehearsal_that_is_interrupted_leaves_nothing_behind(real_server: Server) -> None:
    real_server.command("FLUSHALL")
    async with open_link(real_server.topology) as link, anyio.create_task_group() as group:
        halting = HaltingLink(link)
        group.start_soon(rehearse, halting, QueueKeys(QUEUE, ("high", "low")), real_server.topology, 0)
        await halting.stored.wait()
        assert real_server.command("KEYS", "sq:{shop/0}:doctor-*")
        group.cancel_scope.cancel()
    async with open_link(real_server.topology) as link:
        assert await link.command("DBSIZE") == 0


async def test_a_server_that_hangs_is_reported_in_bounded_time(server: Server) -> None:
    with server.paused(), anyio.fail_after(15):
        report = await examined(f"unix://{server.unix_path}")
    assert "does not answer" in of(report, "reachable")[0].reason
    assert report.exit_code() == NOT_CHECKED


async def test_a_wrong_password_is_named(hardened: tuple[Server, str]) -> None:
    _, url = hardened
    report = await examined(url.replace(PASSWORD, "wrong"))
    assert "refused the login" in of(report, "reachable")[0].reason
    assert report.exit_code() == NOT_CHECKED


async def test_a_private_server_is_examined_and_memory_is_not(tmp_path: Path) -> None:
    report = await Worker(f"embedded://{tmp_path}/folder").doctor()
    assert (level(report, "rights"), level(report, "persistence")) == (Level.OK, Level.OK)
    with pytest.raises(ConfigurationError, match="no server"):
        await Worker("memory://").doctor()


@ON_ONE_LOOP
async def test_certificates_are_looked_at(real_server: Server, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "ca")
    async with tls_in_front_of(real_server, authority.issue("127.0.0.1")) as port:  # for one day
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.folder / 'ca.pem'}"
        assert of(await examined(url), "tls")[0].reason == "its certificate ends in 1 days"
        unchecked = await examined(f"{url}&ssl_check_hostname=false")
        assert "the host name in its certificate is not checked" in {one.reason for one in of(unchecked, "tls")}


def documented_words(beginning: str) -> list[str]:
    """The further ACL rules that the page gives for nodes of a cluster, or for sentinels."""
    found = re.search(rf"`({re.escape(beginning)}[^`]*)`", (ROOT / "docs" / "doctor.md").read_text("utf-8"))
    assert found is not None
    return found[1].split()


@ON_ONE_LOOP
async def test_the_rights_that_the_page_gives_are_enough_in_a_cluster_and_at_sentinels(
    real_cluster: ClusterGroup, real_sentinels: SentinelGroup
) -> None:
    own = [f">{PASSWORD}" if word == ">PASSWORD" else word for word in documented_rights()]
    for node in real_cluster.nodes:
        await node.command(*own, *documented_words("+cluster|info"))
    for server in real_sentinels.servers:
        await server.command(*own)
    for sentinel in real_sentinels.sentinels:
        rules = ("on", f">{PASSWORD}", "allchannels", "-@all", *documented_words("+hello"))
        await sentinel.command("ACL", "SETUSER", "watcher", *rules)
    login = f"://shop-queue:{PASSWORD}@"
    urls = (
        real_cluster.url.replace("://", login),
        real_sentinels.url.replace("://", login) + f"?sentinel_username=watcher&sentinel_password={PASSWORD}",
    )
    for url in urls:
        report = await examined(url)
        assert [finding for finding in report.findings if finding.level in (Level.FAIL, Level.UNKNOWN)] == []
        assert level(report, "dangerous") is Level.OK
    for node in (*real_cluster.nodes, *real_sentinels.servers):
        await node.command("ACL", "DELUSER", "shop-queue")
    for sentinel in real_sentinels.sentinels:
        await sentinel.command("ACL", "DELUSER", "watcher")


# Sentinel


async def test_a_whole_sentinel_group_is_asked_from_one_sentinel(real_sentinels: SentinelGroup) -> None:
    first = real_sentinels.sentinels[0]
    primary = await real_sentinels.primary()
    await linked([server for server in real_sentinels.servers if server is not primary])
    report = await examined(f"redis+sentinel://127.0.0.1:{first.port}/{MASTER}")
    assert set(report.nodes) == {f"127.0.0.1:{node.port}" for node in real_sentinels.nodes}
    assert report.answered == len(real_sentinels.nodes)
    assert [finding for finding in report.findings if finding.level in (Level.FAIL, Level.UNKNOWN)] == []
    for check in ("quorum", "agreement", "watched", "failover-time"):
        assert level(report, check) is Level.OK
    assert not await primary.command("KEYS", "*doctor*")


@ON_ONE_LOOP
async def test_sentinels_and_replicas_that_are_missing_are_found() -> None:
    with started(SentinelGroup(server_binary())) as group:
        group.sentinels[2].kill()
        report = await examined(group.url)
        assert (level(report, "reachable"), level(report, "quorum")) == (Level.WARN, Level.OK)
        assert report.exit_code() == HEALTHY

        group.sentinels[1].kill()
        group.servers[2].kill()
        watching = group.sentinels[0]

        async def noticed() -> bool:
            listed = [*await watching.command("SENTINEL", "SENTINELS", MASTER)]
            listed += await watching.command("SENTINEL", "REPLICAS", MASTER)
            return str(listed).count("s_down") >= 3

        await eventually(noticed)
        report = await examined(group.url)
        assert level(report, "sentinels") is Level.FAIL
        assert "NOQUORUM" in of(report, "quorum")[0].reason
        assert str(group.servers[2].port) in of(report, "watched")[0].reason
        assert report.exit_code() == FINDINGS


# Cluster


async def test_a_whole_cluster_is_asked_from_one_node(real_cluster: ClusterGroup) -> None:
    await linked(real_cluster.replicas)
    report = await examined(f"redis+cluster://127.0.0.1:{real_cluster.primaries[0].port}")
    assert set(report.nodes) == {f"127.0.0.1:{node.port}" for node in real_cluster.nodes}
    assert [finding for finding in report.findings if finding.level in (Level.FAIL, Level.UNKNOWN)] == []
    for check in ("slots", "cluster-state", "open-slots", "members", "hash-tags"):
        assert level(report, check) is Level.OK
    for node in real_cluster.primaries:
        assert not await node.command("KEYS", "*doctor*")


async def test_a_cluster_node_behind_a_plain_url_is_named(real_cluster: ClusterGroup) -> None:
    report = await examined(f"redis://127.0.0.1:{real_cluster.primaries[0].port}")
    assert level(report, "topology") is Level.FAIL


@ON_ONE_LOOP
async def test_slots_without_owner_and_slots_between_two_nodes_are_found() -> None:
    with started(ClusterGroup(server_binary())) as group:
        far = (slot_of(f"{QUEUE}/0".encode()) + SLOTS // 2) % SLOTS  # not the slot of the queue, which goes on
        owner, slot = await group.owner(far), str(far)
        other = next(node for node in group.primaries if node is not owner)
        await owner.command("CLUSTER", "SETSLOT", slot, "MIGRATING", (await other.command("CLUSTER", "MYID")).decode())
        report = await examined(group.url)
        assert (level(report, "open-slots"), level(report, "slots")) == (Level.WARN, Level.OK)
        assert of(report, "open-slots")[0].where == f"127.0.0.1:{owner.port}"
        assert slot in of(report, "open-slots")[0].reason

        await owner.command("CLUSTER", "SETSLOT", slot, "STABLE")
        await owner.command("CLUSTER", "DELSLOTS", slot)
        report = await examined(group.url)
        assert (level(report, "open-slots"), level(report, "slots")) == (Level.OK, Level.FAIL)
        assert "1 of 16384" in of(report, "slots")[0].reason
        assert level(report, "rehearsal") is not Level.FAIL
