"""No event costs a slot: after many of each kind the pool still gives out all of its connections."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from coredis import Redis
from coredis.connection import TCPLocation, UnixDomainSocketLocation
from coredis.exceptions import ConnectionError
from coredis.retry import NoRetryPolicy

from secure_queue.errors import Unavailable
from secure_queue.redis import dialing
from secure_queue.redis.pools import SafePool
from secure_queue.redis.tls import HANDSHAKE_TIMEOUT
from secure_queue.redis.topology import Standalone, Tls
from tests.servers import PATIENCE, Server, eventually, wait_until

pytestmark = pytest.mark.anyio

SLOTS = 4
EVENTS = 3 * SLOTS


@asynccontextmanager
async def open_pool(
    server: Server, *, size: int = SLOTS, timeout: float | None = PATIENCE
) -> AsyncIterator[SafePool[Any]]:
    location = UnixDomainSocketLocation(str(server.unix_path))
    made: SafePool[Any] = SafePool(location=location, max_connections=size, timeout=timeout, stream_timeout=4.0)
    async with made as pool:
        yield pool


async def assert_all_slots_left(pool: SafePool[Any]) -> None:
    """Lease every slot at once, use it, and find that there is none more."""
    async with AsyncExitStack() as leases:
        connections = []
        with anyio.fail_after(PATIENCE):
            for _ in range(SLOTS):
                connections.append(await leases.enter_async_context(pool.acquire()))
        assert len(set(map(id, connections))) == SLOTS
        for connection in connections:
            assert await connection.create_request(b"PING") == b"PONG"
        assert pool.lease_nowait() is None


async def all_lost(pool: SafePool[Any]) -> None:
    """Wait until the pool has noticed that its connections are gone."""

    async def none_is_online() -> bool:
        return not pool._online_connections

    await eventually(none_is_online)


async def block(pool: SafePool[Any], *, command: bytes = b"BLPOP", key: bytes = b"nothing") -> None:
    async with pool.acquire() as connection:
        await connection.create_request(command, key, 0, timeout=PATIENCE, disconnect_on_cancellation=True)


async def cancel_when(condition: Callable[[], Any], work: Callable[[], Awaitable[Any]]) -> None:
    """Start *work* and cancel it when the server has reached a state."""
    async with anyio.create_task_group() as group:
        group.start_soon(work)  # type: ignore[arg-type]
        await anyio.to_thread.run_sync(wait_until, condition)
        group.cancel_scope.cancel()


def blocked(server: Server) -> int:
    return int(server.command("INFO", "clients")["blocked_clients"])


@pytest.mark.parametrize("command", [b"BLPOP", b"BZPOPMIN"])
async def test_a_cancelled_blocking_call_costs_no_slot(real_server: Server, command: bytes) -> None:
    async with open_pool(real_server) as pool:
        for _ in range(EVENTS):
            await cancel_when(lambda: blocked(real_server) == 1, lambda: block(pool, command=command))
            await anyio.to_thread.run_sync(wait_until, lambda: blocked(real_server) == 0)
        await assert_all_slots_left(pool)


async def test_a_connection_killed_while_it_blocks_costs_no_slot(server: Server) -> None:
    async def lose(pool: SafePool[Any]) -> None:
        with pytest.raises(ConnectionError):
            await block(pool)

    async with open_pool(server) as pool:
        for _ in range(EVENTS):
            async with anyio.create_task_group() as group:
                group.start_soon(lose, pool)
                await anyio.to_thread.run_sync(wait_until, lambda: blocked(server) == 1)
                server.kill_clients()
        await assert_all_slots_left(pool)


async def test_killed_idle_connections_cost_no_slot(server: Server) -> None:
    async with open_pool(server) as pool:
        for _ in range(EVENTS):
            async with pool.acquire() as connection:
                await connection.create_request(b"PING")
            server.kill_clients()
            await all_lost(pool)
        await assert_all_slots_left(pool)


async def test_a_cancelled_pipeline_costs_no_slot(real_server: Server) -> None:
    async with open_pool(real_server) as pool:
        client: Redis[bytes] = Redis(connection_pool=pool, retry_policy=NoRetryPolicy())
        async with client:
            for _ in range(EVENTS):
                with anyio.CancelScope() as scope:
                    async with client.pipeline() as pipeline:
                        pipeline.set("a", "b")
                        scope.cancel()
            await assert_all_slots_left(pool)


async def test_a_cancelled_call_costs_neither_slot_nor_order(real_server: Server) -> None:
    async with open_pool(real_server) as pool:
        for number in range(EVENTS):
            connection = await pool.get_connection()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await connection.create_request(b"ECHO", b"lost %d" % number)
            reply = await connection.create_request(b"ECHO", b"kept %d" % number)
            pool.release(connection)
            assert reply == b"kept %d" % number
        await assert_all_slots_left(pool)


async def test_a_cancelled_connect_costs_no_slot(tmp_path: Path) -> None:
    with socket.socket() as deaf:  # connections end in its backlog, where nobody answers the handshake
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        location = TCPLocation(*deaf.getsockname())
        made: SafePool[Any] = SafePool(location=location, max_connections=SLOTS, timeout=PATIENCE)
        async with made as pool:
            for _ in range(EVENTS):
                with anyio.move_on_after(0.01) as scope:
                    await pool.get_connection()
                assert scope.cancelled_caught
            assert len(pool._available_connections) == SLOTS


async def test_a_refused_connect_costs_no_slot(server: Server) -> None:
    async with open_pool(server) as pool:
        server.stop()
        for _ in range(EVENTS):
            with pytest.raises(ConnectionError):
                await pool.get_connection()
        server.start()
        await assert_all_slots_left(pool)


async def test_a_restarted_server_costs_no_slot(server: Server) -> None:
    async with open_pool(server) as pool:
        for _ in range(2):
            await assert_all_slots_left(pool)
            server.kill()
            await all_lost(pool)
            server.start()
        await assert_all_slots_left(pool)


async def test_disconnect_costs_no_slot(real_server: Server) -> None:
    async with open_pool(real_server) as pool:
        for _ in range(EVENTS):
            async with pool.acquire():
                pool.disconnect()
        await assert_all_slots_left(pool)


async def test_disconnect_ends_what_is_being_opened(real_server: Server) -> None:
    """Who waits for a handshake with a server that has been replaced goes to the other one at once."""
    accepted = anyio.Event()

    async def say_nothing(client: SocketStream) -> None:
        async with client:
            accepted.set()
            await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, say_nothing)
        silent = Standalone("127.0.0.1", listener.extra(SocketAttribute.local_port), tls=Tls())
        async with dialing.open_pool(dialing.pool_for(silent, 1)) as pool:

            async def drop() -> None:
                await accepted.wait()
                pool.disconnect()

            group.start_soon(drop)
            with anyio.fail_after(HANDSHAKE_TIMEOUT / 2), pytest.raises(ConnectionError, match="dropped"):
                await pool.get_connection()
            assert pool.lease_nowait() is None
            assert not pool._available_connections.empty()
        group.cancel_scope.cancel()


async def test_a_cancelled_waiter_does_not_swallow_the_next_slot(real_server: Server) -> None:
    got = anyio.Event()

    async def wait_for_slot(pool: SafePool[Any]) -> None:
        async with pool.acquire():
            got.set()

    async with open_pool(real_server, size=1) as pool:
        connection = await pool.get_connection()
        for _ in range(EVENTS):
            with anyio.move_on_after(0.001):
                await pool.get_connection()
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_slot, pool)
            await anyio.wait_all_tasks_blocked()
            pool.release(connection)
            with anyio.fail_after(PATIENCE):
                await got.wait()


async def test_a_waiter_that_is_woken_and_cancelled_at_once_passes_the_slot_on(real_server: Server) -> None:
    got = anyio.Event()

    async def first(pool: SafePool[Any], scope: anyio.CancelScope) -> None:
        with scope:
            async with pool.acquire():
                pass

    async def second(pool: SafePool[Any]) -> None:
        async with pool.acquire():
            got.set()

    async with open_pool(real_server, size=1) as pool, anyio.create_task_group() as group:
        connection = await pool.get_connection()
        scope = anyio.CancelScope()
        group.start_soon(first, pool, scope)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(second, pool)
        await anyio.wait_all_tasks_blocked()
        pool.release(connection)
        scope.cancel()
        with anyio.fail_after(PATIENCE):
            await got.wait()


async def test_a_pool_without_free_slots_says_so_in_time(real_server: Server) -> None:
    async with open_pool(real_server, size=1, timeout=0.05) as pool, pool.acquire():
        with pytest.raises(TimeoutError):
            await pool.get_connection()


async def test_many_callers_share_few_connections(real_server: Server) -> None:
    async def use(pool: SafePool[Any], number: int) -> None:
        async with pool.acquire() as connection:
            assert await connection.create_request(b"ECHO", number) == b"%d" % number

    async with open_pool(real_server) as pool, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(use, pool, number)
    assert len(pool._available_connections) == SLOTS


async def test_a_hung_connection_is_not_leased_again_when_its_reply_is_overdue(server: Server) -> None:
    location = UnixDomainSocketLocation(str(server.unix_path))
    made: SafePool[Any] = SafePool(location=location, max_connections=1, timeout=PATIENCE, stream_timeout=0.2)
    async with made as pool:
        connection = await pool.get_connection()
        with server.paused():
            with suppress(TimeoutError):  # the caller gives up, and coredis puts the connection back (fact 4)
                await connection.create_request(b"PING", timeout=0.3)
            pool.release(connection)
            assert pool.lease_nowait() is None
        async with pool.acquire() as other:
            assert other is not connection
            assert await other.create_request(b"PING") == b"PONG"


async def test_the_end_of_the_pool_closes_its_connections(real_server: Server) -> None:
    async with open_pool(real_server) as pool:
        await assert_all_slots_left(pool)
        async with pool.acquire() as connection:
            await connection.create_request(b"CLIENT SETNAME", b"pool-end")
    await anyio.to_thread.run_sync(
        wait_until, lambda: not [client for client in real_server.clients() if client["name"] == "pool-end"]
    )


async def test_a_call_on_a_pool_that_was_closed_meanwhile_says_so(real_server: Server) -> None:
    async with open_pool(real_server) as pool:
        pass
    with pytest.raises(Unavailable, match="closed"):
        await pool.get_connection()
