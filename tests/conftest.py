"""Loops, servers and links for all tests, and the guard that no server is left behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psutil
import pytest

from secure_queue.local.groups import ClusterGroup, SentinelGroup
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.topology import Memory, Topology
from tests.attack_list import number_reports, pytest_terminal_summary
from tests.pairs import halved
from tests.servers import CALM, CALM_CLUSTER, Server, server_binary, started, wait_until

__all__ = ["pytest_terminal_summary"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``tests.pairs`` leaves out, and number the tests of the acceptance list of attacks."""
    left_out, items[:] = halved(items)
    config.hook.pytest_deselected(items=left_out)
    number_reports(items)


@pytest.hookimpl(tryfirst=True)
def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of tests are the same in every process that shares the suite: what is random or has an address names none."""
    if isinstance(val, bytes) or (isinstance(val, str) and "sqk1:" in val):
        return argname
    return None


SESSION = "SECURE_QUEUE_TEST_SESSION"  # inherited by every server and keeper that this session starts


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both loops; a test that wants uvloop too is parametrized with ``tests.servers.EVERY_LOOP``."""
    name: str = request.param
    return name


@pytest.fixture(scope="session", autouse=True)
def no_server_left() -> Iterator[None]:
    """Fail the session if a redis-server or keeper that it started outlives it."""
    os.environ[SESSION] = mark = uuid4().hex
    yield
    try:
        wait_until(lambda: not _marked(mark))
    finally:
        left = _marked(mark)
        for process in left:
            process.kill()
    assert not left


def _marked(mark: str) -> list[psutil.Process]:
    """The servers of this session and their keepers, whose command line names the server too."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if ("redis-server" in words or "valkey-server" in words) and process.environ().get(SESSION) == mark:
                found.append(process)
        except psutil.Error:  # it has ended, or belongs to somebody else
            continue
    return found


@pytest.fixture(scope="session")
def real_server(no_server_left: None) -> Iterator[Server]:
    """One server for all tests that break nothing."""
    with Server(appendonly="no") as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own, for a test that breaks it."""
    with Server() as own:
        yield own


@pytest.fixture(scope="session")
def real_sentinels(no_server_left: None) -> Iterator[SentinelGroup]:
    """One Sentinel group for all tests that break nothing."""
    with started(SentinelGroup(server_binary(), layout=CALM)) as group:
        yield group


@pytest.fixture(scope="session")
def real_cluster(no_server_left: None) -> Iterator[ClusterGroup]:
    """One Cluster for all tests that break nothing."""
    with started(ClusterGroup(server_binary(), layout=CALM_CLUSTER)) as group:
        yield group


@pytest.fixture(params=["memory", "server"])
async def link(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[Link]:
    """An empty database, inside the process and on a real server."""
    if request.param == "memory":
        topology: Topology = Memory()
    else:
        server: Server = request.getfixturevalue("real_server")
        topology = server.topology
    async with open_link(topology) as opened:
        await opened.command("FLUSHALL")
        yield opened
        await opened.command("FLUSHALL")


async def lasting_keys(link: Link) -> list[bytes]:
    """The keys that have no expiry."""
    keys = await link.command("KEYS", "*")
    assert isinstance(keys, list)
    return [key for key in keys if isinstance(key, bytes) and await link.command("PTTL", key) == -1]
