"""An idempotent call outlives what happens to its server, and ends at its deadline when the server does not come back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.streams.stapled import MultiListener

from secure_queue.errors import Backpressure, ConfigurationError, Unavailable
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link, WrongType
from secure_queue.redis.topology import Standalone
from secure_queue.secret import Secret
from tests.connections.scripts import ECHO, INCREMENT, script
from tests.servers import EVERY_LOOP, PATIENCE, Server, bundled_binary, free_port

pytestmark = pytest.mark.anyio


async def run(link: Link, deadline: float = PATIENCE) -> object:
    return await link.run(ECHO, [b"key"], [b"value"], deadline)


@pytest.mark.parametrize("anyio_backend", EVERY_LOOP)
async def test_a_call_completes_although_its_server_is_killed_and_restarted(server: Server) -> None:
    async with open_link(server.topology) as link:
        await run(link)
        server.kill()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, server.start)
            assert await run(link) == [b"key", b"value"]


async def test_many_calls_in_flight_outlive_a_kill(server: Server) -> None:
    replies: list[object] = []

    async def call(link: Link) -> None:
        for _ in range(20):
            replies.append(await run(link))

    async with open_link(server.topology) as link, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call, link)
        await run(link)
        server.kill()
        await anyio.to_thread.run_sync(server.start)
    assert replies == [[b"key", b"value"]] * 400


async def test_a_server_that_is_not_there_is_named_at_the_deadline() -> None:
    port = free_port()
    topology = Standalone(host="127.0.0.1", port=port, password=Secret(b"hunter2"))
    async with open_link(topology) as link:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}") as caught:
            await run(link, deadline=0.2)
        assert caught.value.__cause__ is not None
        assert "hunter2" not in str(caught.value)


async def test_a_call_may_be_made_before_the_server_is_up(server: Server) -> None:
    server.stop()
    async with open_link(server.topology) as link, anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, server.start)
        assert await run(link) == [b"key", b"value"]


@pytest.mark.parametrize("connected", [True, False])
async def test_a_hung_server_holds_nobody_beyond_the_deadline(server: Server, connected: bool) -> None:
    async with open_link(server.topology) as link:
        if connected:
            await run(link)
        with server.paused():
            start = monotonic()
            with pytest.raises(Unavailable):
                await run(link, deadline=0.3)
            assert monotonic() - start < PATIENCE
        assert await run(link) == [b"key", b"value"]


async def test_commands_have_a_deadline_too(server: Server) -> None:
    async with open_link(server.topology, deadline=0.3) as link:
        await link.command("PING")
        with server.paused(), pytest.raises(Unavailable):
            await link.command("PING")
        assert await link.command("PING") == b"PONG"


async def test_calls_that_others_cancel_leave_no_hung_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_queue.redis.dialing.REPLY_TIMEOUT", 0.2)
    async with open_link(server.topology) as link:
        await run(link)
        with server.paused():
            for _ in range(5):
                with anyio.move_on_after(0.1):
                    await run(link)
        assert await run(link) == [b"key", b"value"]


async def test_a_flushed_script_is_loaded_again(real_server: Server) -> None:
    async with open_link(real_server.topology) as link:
        for _ in range(3):
            assert await run(link) == [b"key", b"value"]
            real_server.flush_scripts()


async def test_killed_connections_are_replaced(server: Server) -> None:
    async with open_link(server.topology) as link:
        for _ in range(10):
            assert await run(link) == [b"key", b"value"]
            server.kill_clients()


async def test_data_of_before_the_restart_is_there_with_aof_and_gone_without(server: Server) -> None:
    async with open_link(server.topology) as link:
        await link.command("SET", "key", "value")
        server.kill()
        await anyio.to_thread.run_sync(server.start)
        assert await link.command("GET", "key") == b"value"
        server.kill()
        server.wipe()
        await anyio.to_thread.run_sync(server.start)
        assert await link.command("GET", "key") is None


async def test_a_dropped_reply_is_asked_for_again() -> None:
    with Server(tcp=True) as server:
        proxy = dropping_replies(server, lambda data: b"EVALSHA" in data)
        async with proxy as port, open_link(Standalone(host="127.0.0.1", port=port)) as link:
            await link.command("SCRIPT", "LOAD", INCREMENT.source)
            assert await link.run(INCREMENT, [b"n"], [], PATIENCE) == 2  # executed twice, so scripts are idempotent
        assert server.command("GET", "n") == b"2"


@asynccontextmanager
async def dropping_replies(server: Server, chosen: Callable[[bytes], bool]) -> AsyncIterator[int]:
    """A proxy that swallows the reply to the first chosen request and cuts the connection."""
    left = [1]

    async def handle(client: SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", server.port) as upstream:
            try:
                while True:
                    request = await client.receive()
                    await upstream.send(request)
                    reply = await upstream.receive()
                    if chosen(request) and left[0]:
                        left[0] -= 1
                        return
                    await client.send(reply)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    listener: MultiListener[SocketStream] = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("version", ["newest", "oldest"])
async def test_a_full_server_means_backpressure_at_once(version: str) -> None:
    binary = bundled_binary() if version == "oldest" else None
    with Server(binary=binary, maxmemory="1") as server:
        async with open_link(server.topology) as link:
            write = script("redis.call('SET', KEYS[1], ARGV[1]) return 1")
            with pytest.raises(Backpressure, match="memory limit"):
                await link.run(write, [b"key"], [b"value"], PATIENCE)
            with pytest.raises(Backpressure):
                await link.command("SET", "key", "value")


@pytest.mark.parametrize("version", ["newest", "oldest"])
async def test_a_key_of_another_type_is_told_apart(version: str) -> None:
    binary = bundled_binary() if version == "oldest" else None
    with Server(binary=binary) as server:
        async with open_link(server.topology) as link:
            await link.command("SET", "key", "text")
            push = script("redis.call('RPUSH', KEYS[1], ARGV[1]) return 1")
            with pytest.raises(WrongType):
                await link.run(push, [b"key"], [b"value"], PATIENCE)
            with pytest.raises(WrongType):
                await link.command("LPUSH", "key", "value")


async def test_a_wrong_password_is_an_error_of_the_configuration() -> None:
    with Server() as server:
        server.command("CONFIG", "SET", "requirepass", "right")
        try:
            for password in (None, Secret(b"hunter2")):
                async with open_link(Standalone(unix_path=str(server.unix_path), password=password)) as link:
                    with pytest.raises(ConfigurationError, match="user and password") as caught:
                        await run(link)
                    assert "hunter2" not in str(caught.value)
            async with open_link(Standalone(unix_path=str(server.unix_path), password=Secret(b"right"))) as link:
                assert await run(link) == [b"key", b"value"]
        finally:
            server.kill()


async def test_a_user_without_the_right_to_run_scripts_is_told_so(server: Server) -> None:
    server.command("ACL", "SETUSER", "reader", "on", ">pw", "+@connection", "-@scripting")
    topology = Standalone(unix_path=str(server.unix_path), username="reader", password=Secret(b"pw"))
    async with open_link(topology) as link:
        with pytest.raises(ConfigurationError, match="ACL"):
            await run(link)
        with pytest.raises(ConfigurationError, match="ACL"):
            async with link.listen(b"channel"):
                pytest.fail("the subscription was refused")


async def test_the_database_of_the_topology_is_used(real_server: Server) -> None:
    async with open_link(Standalone(unix_path=str(real_server.unix_path), db=3)) as link:
        await link.command("SET", "key", "value")
        assert await link.command("FLUSHDB") == b"OK"
    async with open_link(Standalone(unix_path=str(real_server.unix_path), db=99)) as link:
        with pytest.raises(Exception, match="DB index"):
            await link.command("PING")


async def test_lost_connections_make_no_noise(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with open_link(server.topology) as link:
            await run(link)
            server.kill()
            with pytest.raises(Unavailable):
                await run(link, deadline=0.2)
    assert [record for record in caplog.records if record.name == "coredis"] == []


async def test_who_asks_for_the_log_of_coredis_gets_it(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="coredis"):
        async with open_link(server.topology) as link:
            await run(link)
            server.kill()
            with pytest.raises(Unavailable):
                await run(link, deadline=0.2)
    assert [record for record in caplog.records if record.name == "coredis"]


async def test_a_bug_of_the_caller_is_not_retried(real_server: Server) -> None:
    async with open_link(real_server.topology) as link:
        with pytest.raises(TypeError):
            await link.run(ECHO, None, [], PATIENCE)  # type: ignore[arg-type]


async def test_replies_of_resp3_are_spelled_as_in_resp2(real_server: Server) -> None:
    async with open_link(real_server.topology) as link:
        await link.command("DEL", "h", "s", "z")
        await link.command("HSET", "h", "field", b"\x00\xff")
        await link.command("SADD", "s", "member")
        await link.command("ZADD", "z", "1.5", "member")
        assert await link.command("HGETALL", "h") == [b"field", b"\x00\xff"]
        assert await link.command("SMEMBERS", "s") == [b"member"]
        assert await link.command("ZSCORE", "z", "member") == b"1.5"
        assert await link.command("DEL", "h", "s", "z") == 3


async def test_a_tcp_link_works_with_keepalive() -> None:
    with Server(tcp=True) as server:
        async with open_link(server.topology) as link:
            assert await run(link) == [b"key", b"value"]
