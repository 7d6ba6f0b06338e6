"""The configuration files of the kits start real servers, and the important steps of their runbooks work on them."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from coredis.exceptions import ResponseError

from secure_queue import Worker
from secure_queue.local.access import Access
from secure_queue.local.certificates import make_certificates
from secure_queue.local.groups import (
    ClusterGroup,
    Group,
    SentinelGroup,
    StandaloneGroup,
    as_dict,
    linked_replicas,
    until_copied,
)
from secure_queue.local.layout import MASTER, Layout
from secure_queue.local.logins import Logins, keep_logins, users_in
from secure_queue.local.node import Node, speaks_tls
from secure_queue.local.private import private_folder
from secure_queue.local.survey import REPLICA, look
from secure_queue.redis.roles import Role, for_server
from secure_queue.redis.slots import slot_of
from secure_queue.secret import Secret
from tests.servers import PATIENCE, dialect_of, eventually, server_binary, started
from tests.tour.blocks import ROOT, blocks_of
from tests.worker.places import SECRET, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
QUEUE = "kit"
SLOT = slot_of(f"{QUEUE}/0".encode())
OWN = ("port", "tls-", "dir", "aclfile", "sentinel monitor")  # a local topology has its own ports, folders and files


def text_of(kit: str, name: str) -> str:
    """A configuration file; without its lines for TLS where the server of the suite knows none."""
    lines = (ROOT / kit / name).read_text().splitlines()
    wanted = speaks_tls(server_binary())
    return "".join(f"{line}\n" for line in lines if wanted or not line.startswith("tls-"))


@contextmanager
def kit_of(kind: type[Group], kit: str, folder: Path) -> Iterator[Group]:
    """A group that runs the files of *kit*."""
    private_folder(folder)
    dialect = dialect_of(server_binary())
    server_users = [for_server(line, dialect) for line in (ROOT / kit / "users.acl").read_text().splitlines()]
    watching = ROOT / kit / "sentinel-users.acl"
    sentinel_users = watching.read_text().splitlines() if watching.exists() else []
    logins = keep_logins(folder / "passwords.json", ["replica", *users_in(server_users), *users_in(sentinel_users)])
    certificates = make_certificates(folder / "tls") if speaks_tls(server_binary()) else None
    layout = Layout(
        access=Access(certificates, logins, folder),
        servers=text_of(kit, "redis.conf"),
        sentinels=text_of(kit, "sentinel.conf") if kit == "sentinel" else None,
        server_users=server_users,
        sentinel_users=sentinel_users,
    )
    with started(kind(server_binary(), folder, layout=layout)) as group:
        yield group


def worker_as(role: Role, group: Group) -> Worker[None]:
    """The application as it logs in for one part of its work."""
    group.access = replace(group.access, user=role)
    worker: Worker[None] = Worker(group.url, queue_name=QUEUE, signing_secret=SECRET, handle_signals=False)
    worker.announces = role in (Role.PRODUCER, Role.WORKER)

    @worker.task(name="double", ttl=60)
    async def double(number: int) -> int:
        return 2 * number

    return worker


async def enqueue(group: Group, *numbers: int) -> int:
    """Enqueue tasks as a producer that no worker runs yet; say, as a dashboard, how many wait then."""
    async with worker_as(Role.PRODUCER, group) as producer:
        await producer.enqueue_many([producer.registry["double"].enqueue(number) for number in numbers])
    async with worker_as(Role.DASHBOARD, group) as dashboard:
        return await dashboard.queue_size()


async def everybody_does_his_work(group: Group, waiting: int) -> None:
    """What waits is run, looked at and put in order by its users, and no server has denied any of them anything."""
    async with worker_as(Role.AUDITOR, group) as auditor:
        assert (await auditor.audit()).codes["valid"] >= waiting
    async with running(worker_as(Role.WORKER, group)), worker_as(Role.PRODUCER, group) as producer:
        assert (await (await producer.registry["double"].enqueue(21)).result(PATIENCE)).result == 42
    async with worker_as(Role.OPERATOR, group) as operator:
        assert await operator.queue_size() == 0
    for node in group.nodes:
        assert [entry for entry in await node.command("ACL", "LOG") if _is_of_an_application(entry)] == []


def _is_of_an_application(entry: Any) -> bool:
    return as_dict(entry)[b"username"].decode() in set(Role)


async def check_settings(node: Node, kit: str, name: str) -> None:
    """What the file says is what the server does."""
    for line in text_of(kit, name).splitlines():
        directive, _, value = line.partition(" ")
        if not line or line.startswith(("#", "sentinel ", "save", "appendfsync ", *OWN)):
            continue
        found = as_dict(await node.command("CONFIG", "GET", directive))[directive.encode()]
        units = {"1gb": "1073741824", "64mb": "67108864"}
        assert found.decode() == units.get(value, value), directive


def run(steps: Callable[[], object]) -> None:
    anyio.run(steps)  # type: ignore[arg-type]


def test_deploy_starts_and_its_backup_is_restored(tmp_path: Path) -> None:
    async def back_up() -> None:
        [node] = group.nodes
        await check_settings(node, "deploy", "redis.conf")
        assert await enqueue(group, 1, 2, 3) == 3
        node.stop()
        node.start()
        await node.answering()
        assert await enqueue(group) == 3, "what scripts have written is read again, although nobody is `default`"
        await node.command("SAVE")
        shutil.copy(node.folder / "dump.rdb", tmp_path / "backup.rdb")
        await enqueue(group, 4)

    with kit_of(StandaloneGroup, "deploy", tmp_path / "first") as group:
        run(back_up)

    async def restore() -> None:
        [node] = group.nodes
        await node.command("CONFIG", "SET", "appendonly", "no")
        node.stop()
        shutil.rmtree(node.folder / "appendonlydir", ignore_errors=True)
        (node.folder / "appendonly.aof").unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup.rdb", node.folder / "dump.rdb")
        file = node.folder / "server.conf"
        text = file.read_text()
        file.write_text(text.replace("appendonly yes", "appendonly no"))
        node.start()
        await node.answering()
        await node.command("CONFIG", "SET", "appendonly", "yes")
        await eventually(lambda: rewritten(node))
        node.stop()
        file.write_text(text)
        node.start()
        await node.answering()
        assert await enqueue(group) == 3, "what the backup held, read from the new append-only file"
        await everybody_does_his_work(group, 3)

    with kit_of(StandaloneGroup, "deploy", tmp_path / "second") as group:
        run(restore)


async def rewritten(node: Node) -> bool:
    raw: bytes = await node.command("INFO", "persistence")
    return b"aof_rewrite_in_progress:0" in raw and b"aof_rewrite_scheduled:0" in raw


def test_sentinel_starts_fails_over_by_hand_and_takes_a_new_node(tmp_path: Path) -> None:
    async def steps() -> None:
        assert isinstance(group, SentinelGroup)
        old, replaced, _ = group.servers
        await check_settings(old, "sentinel", "redis.conf")
        assert await enqueue(group, 1, 2, 3) == 3
        await eventually(lambda: has_copies(old, 2))

        await group.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        await eventually(lambda: is_replaced(group, old))
        assert await enqueue(group) == 3
        await eventually(lambda: follows(old), patience=60)

        victim = replaced if (await group.primary()) is not replaced else old
        victim.stop()
        for file in [path for path in victim.folder.rglob("*") if path.is_file() and path.name != "server.conf"]:
            file.unlink()
        victim.start()
        await victim.answering()
        primary = await group.primary()
        await eventually(lambda: has_copies(primary, 2))
        await until_copied(primary, 2)
        assert b"keys=" in await victim.command("INFO", "keyspace"), "it has copied everything"
        await everybody_does_his_work(group, 3)
        await passwords_of_peers_are_changed(group)
        for node in (victim, group.sentinels[0]):
            node.stop()
            node.start()
            await node.answering()
        await eventually(lambda: follows(victim))
        await eventually(lambda: has_quorum(group.sentinels[0]))

    with kit_of(SentinelGroup, "sentinel", tmp_path / "kit") as group:
        run(steps)


async def passwords_of_peers_are_changed(group: SentinelGroup) -> None:
    """What the runbook prints about passwords, for those with which the servers log in at each other."""
    assert group.access.logins is not None
    changed = {name: Secret(f"changed-password-of-{name}".encode()) for name in ("replica", "sentinel")}
    group.access = replace(group.access, logins=Logins({**group.access.logins.passwords, **changed}))
    group._write_users()
    for words in map(shlex.split, commands_about("NEW-PASSWORD-OF", "CONFIG REWRITE", "ACL LOAD")):
        at_sentinels = "-p" in words
        for node in group.sentinels if at_sentinels else group.servers:
            said = [word.replace("NEW-PASSWORD-OF-REPLICA", "changed-password-of-replica") for word in words]
            said = [word.replace("NEW-PASSWORD-OF-SENTINEL", "changed-password-of-sentinel") for word in said]
            await node.command(*said[5 if at_sentinels else 3 :])


def commands_about(*marks: str) -> list[str]:
    commands = [command for block in blocks_of(ROOT / "sentinel" / "README.md") for command in block.commands]
    return [command.partition(" #")[0] for command in commands if any(mark in command for mark in marks)]


async def has_quorum(sentinel: Node) -> bool:
    try:
        return bytes(await sentinel.command("SENTINEL", "CKQUORUM", MASTER)).startswith(b"OK 3 usable")
    except ResponseError:  # NOQUORUM
        return False


async def has_copies(node: Node, count: int) -> bool:
    return await linked_replicas(node) == count


async def is_replaced(group: SentinelGroup, old: Node) -> bool:
    return await group.primary() is not old


async def follows(node: Node) -> bool:
    [state] = await look([node])
    return state.role == REPLICA and state.link.endswith("up")


def test_cluster_starts_fails_over_by_hand_and_moves_the_slot_of_a_queue(tmp_path: Path) -> None:
    async def steps() -> None:
        assert isinstance(group, ClusterGroup)
        old = await group.owner(SLOT)
        await check_settings(old, "cluster", "redis.conf")
        assert await enqueue(group, 1, 2, 3) == 3
        await eventually(lambda: has_copies(old, 1))

        replica = group.replicas[group.primaries.index(old)]
        await replica.command("CLUSTER", "FAILOVER")
        await eventually(lambda: owns(group, replica))
        assert await enqueue(group) == 3

        target = next(node for node in group.primaries if node is not old)
        await move_slot(group, replica, target)
        assert await group.owner(SLOT) is target
        assert await enqueue(group, 4) == 4
        await everybody_does_his_work(group, 4)

    with kit_of(ClusterGroup, "cluster", tmp_path / "kit") as group:
        run(steps)


async def owns(group: ClusterGroup, node: Node) -> bool:
    return await group.owner(SLOT) is node


async def move_slot(group: ClusterGroup, source: Node, target: Node) -> None:
    """What ``redis-cli --cluster reshard`` does with one slot."""
    names = {node: (await node.command("CLUSTER", "MYID")).decode() for node in (source, target)}
    await target.command("CLUSTER", "SETSLOT", str(SLOT), "IMPORTING", names[source])
    await source.command("CLUSTER", "SETSLOT", str(SLOT), "MIGRATING", names[target])
    logins = group.access.logins
    assert logins is not None
    login = ["AUTH2", "admin", logins.of("admin").reveal().decode()]
    while keys := await source.command("CLUSTER", "GETKEYSINSLOT", str(SLOT), "100"):
        words = [key.decode() for key in keys]
        await source.command("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", *login, "KEYS", *words)
    for node in (target, source):
        await node.command("CLUSTER", "SETSLOT", str(SLOT), "NODE", names[target])
    await eventually(lambda: owns(group, target))
