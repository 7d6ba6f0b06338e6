"""The rules of access behind Sentinel and in a Cluster, where every server has them: each role does its work there too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from secure_queue import ConfigurationError, Worker
from secure_queue.local.groups import Group, SentinelGroup
from secure_queue.local.node import Node
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.roles import Role
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.urls import parse_url
from tests.attack.test_access_rules import (
    CLAIM,
    ENQUEUE,
    LOOK_AROUND,
    PASSWORD,
    Work,
    do_all_work,
    everybody,
    users_for,
    worker_at,
)
from tests.servers import dialect_of, server_binary
from tests.worker.places import PRIORITY, SECRET

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.attack(61),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
    pytest.mark.parametrize("kind", ["real_sentinels", "real_cluster"]),
]

QUEUE = "roles-of-groups"
KEYS = QueueKeys(QUEUE, (PRIORITY,))
DENIED: list[tuple[Role, Work]] = [
    (Role.PRODUCER, CLAIM),
    (Role.WORKER, LOOK_AROUND),
    (Role.AUDITOR, ENQUEUE),
    (Role.DASHBOARD, CLAIM),
    (Role.OPERATOR, CLAIM),
]


def url_of(group: Group, role: Role) -> str:
    scheme, _, rest = group.url.partition("://")
    return f"{scheme}://{role.value}:{PASSWORD}@{rest}"


def data_servers(group: Group) -> list[Node]:
    return group.servers if isinstance(group, SentinelGroup) else group.nodes


@asynccontextmanager
async def with_users(group: Group) -> AsyncIterator[list[Node]]:
    """Every server of *group* knows the roles of this queue for the time of the context."""
    nodes = data_servers(group)
    worker: Worker[None] = Worker(group.url, queue_name=QUEUE, signing_secret=SECRET)
    for node in nodes:
        for words in users_for(worker, dialect_of(server_binary())):
            await node.command(*words)
        await node.command("ACL", "LOG", "RESET")
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.command("ACL", "DELUSER", *(role.value for role in Role))


async def test_each_role_does_its_work_and_fails_at_that_of_others(kind: str, request: pytest.FixtureRequest) -> None:
    group: Group = request.getfixturevalue(kind)
    async with with_users(group) as nodes:
        async with open_link(parse_url(group.url), tag=KEYS.tag) as link:
            workers = {role: worker_at(url_of(group, role), role, QUEUE) for role in Role}
            async with everybody(workers):
                await do_all_work(workers, KEYS, link.command)
            assert [entry for node in nodes for entry in await node.command("ACL", "LOG")] == []
            await link.command("RPUSH", KEYS.ready[PRIORITY], "x")  # so that a claim has something to take
            await link.command("HSET", KEYS.bucket(b"x"), "x", "sealed")
        for role, work in DENIED:
            async with open_link(parse_url(url_of(group, role)), tag=KEYS.tag, deadline=5) as link:
                with pytest.raises(ConfigurationError, match="ACL rules"):
                    await work(RedisStorage(link, KEYS))
        await forget_everything(group)


async def forget_everything(group: Group) -> None:
    """Other tests share the group."""
    for partition in range(2):
        keys = QueueKeys(QUEUE, (PRIORITY,), partition)
        async with open_link(parse_url(group.url), tag=keys.tag) as link:
            found: Any = await link.command("KEYS", keys.prefix + b"*")
            for key in found:
                await link.command("DEL", key)
