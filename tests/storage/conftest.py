"""The storage under test, in memory and on every topology.

On the real server every script runs as a user who may touch exactly the keys that this call declares: a key that a script
spells itself, or takes from somewhere else, is refused by the server and fails the test.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from secure_queue.durability import Assurance, Durability
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Argument, Link, Reply, Woken
from secure_queue.redis.scripts import Script
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Memory
from secure_queue.redis.urls import parse_url
from secure_queue.secret import Secret
from tests.servers import Server

KEYS = QueueKeys("conformance", ("high", "low"))
USER, PASSWORD = "declared", "only-for-tests"
_UNUSUAL = re.compile(rb"[^A-Za-z0-9_:{}/.-]")  # what an ACL pattern cannot spell; "?" stands for any one byte


class DeclaredKeysOnly:
    """A link whose user may touch the declared keys of the call that is under way, and nothing else."""

    def __init__(self, admin: Link, link: Link) -> None:
        self._admin = admin
        self._link = link

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float) -> Reply:
        await self._permit(keys)
        return await self._link.run(script, keys, args, deadline)

    async def run_assured(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Argument], deadline: float, assurance: Assurance
    ) -> tuple[Reply, Durability]:
        await self._permit(keys)
        return await self._link.run_assured(script, keys, args, deadline, assurance)

    def on_new_history(self, listener: Callable[[], None]) -> None:
        self._link.on_new_history(listener)

    async def command(self, *parts: Argument) -> Reply:
        return await self._admin.command(*parts)

    async def run_when_woken(
        self, key: bytes, timeout: float, script: Script, keys: Sequence[bytes], args: Sequence[Argument]
    ) -> Woken | None:
        await self._permit([key, *keys])
        return await self._link.run_when_woken(key, timeout, script, keys, args)

    def listen(self, channel: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._link.listen(channel)

    async def _permit(self, keys: Sequence[bytes]) -> None:
        patterns = [b"~" + _UNUSUAL.sub(b"?", key) for key in dict.fromkeys(keys)]
        await self._admin.command("ACL", "SETUSER", USER, "resetkeys", *patterns)


@pytest.fixture(params=["memory", "server", "sentinel", "cluster"])
async def link(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[Link]:
    """An empty database on every topology."""
    fixture = {"server": "real_server", "sentinel": "real_sentinels", "cluster": "real_cluster"}.get(request.param)
    place = request.getfixturevalue(fixture) if fixture is not None else None
    topology = Memory() if place is None else place.topology if request.param == "server" else parse_url(place.url)
    async with open_link(topology, tag=KEYS.tag) as opened:
        await opened.command("FLUSHALL")
        yield opened
        await opened.command("FLUSHALL")


@pytest.fixture
async def storage(request: pytest.FixtureRequest, link: Link) -> AsyncIterator[RedisStorage]:
    """An empty queue with the priorities high and low, and payloads of at most 1000 bytes."""
    if request.node.callspec.params["link"] != "server":
        yield RedisStorage(link, KEYS, max_payload_bytes=1000)
        return
    server: Server = request.getfixturevalue("real_server")
    await link.command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "+@all", "allchannels")
    topology = replace(server.topology, username=USER, password=Secret(PASSWORD.encode()))
    async with open_link(topology) as restricted:
        yield RedisStorage(DeclaredKeysOnly(link, restricted), KEYS, max_payload_bytes=1000)
    await link.command("ACL", "DELUSER", USER)
