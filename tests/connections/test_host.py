"""Threads with event loops of their own use one worker object's server at the same time, or are told why they cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import anyio
import pytest

from secure_queue import ConfigurationError
from secure_queue.errors import EmbeddedServerError
from secure_queue.redis.connect import open_link
from secure_queue.redis.host import Host
from secure_queue.redis.topology import Embedded, Memory, Topology
from tests.servers import PATIENCE

THREADS = 4


@pytest.mark.parametrize("kind", ["embedded", "memory"])
def test_loops_of_several_threads_share_one_server(kind: str, tmp_path: Path) -> None:
    topology: Topology = Embedded(tmp_path) if kind == "embedded" else Memory("shared-by-threads")
    host, together = Host(topology), Barrier(THREADS)

    async def use(number: int) -> int:
        together.wait(PATIENCE)
        async with host as place, open_link(place) as link:
            await link.command("SET", f"key-{number}", number)
            together.wait(PATIENCE)
            keys = await link.command("DBSIZE")
            together.wait(PATIENCE)
        assert isinstance(keys, int)
        return keys

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(lambda number: anyio.run(use, number), range(THREADS))) == [THREADS] * THREADS


@pytest.mark.parametrize("topology", [Embedded(), Memory()])
def test_a_private_server_belongs_to_one_thread_at_a_time(topology: Topology) -> None:
    host = Host(topology)

    async def enter() -> None:
        async with host:
            pass

    async def enter_here_and_there() -> None:
        async with host:
            with pytest.raises(ConfigurationError, match="belongs to the thread"):
                await anyio.to_thread.run_sync(anyio.run, enter)
        await anyio.to_thread.run_sync(anyio.run, enter)

    anyio.run(enter_here_and_there)


def test_a_start_that_fails_leaves_nothing_behind_in_its_thread(tmp_path: Path) -> None:
    host = Host(Embedded(binary=tmp_path / "no-server"))

    async def enter() -> None:
        with pytest.raises(EmbeddedServerError, match="no-server"):
            async with host:
                pytest.fail("there is no server")

    anyio.run(enter)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, enter).result()
