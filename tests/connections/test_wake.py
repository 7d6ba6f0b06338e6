"""One marker wakes one waiter, whose script runs in the same breath; trouble leaves the outcome unknown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

import anyio
import pytest

from secure_queue.errors import ServerError
from secure_queue.redis import coredis_link
from secure_queue.redis.connect import hosted, open_link
from secure_queue.redis.link import Link
from secure_queue.redis.topology import Memory, Standalone, Topology
from tests.connections.scripts import INCREMENT, MARK, NOTHING
from tests.servers import PATIENCE, Server, eventually, free_port, wait_until

pytestmark = pytest.mark.anyio

KEY = b"{q}:wake"
COUNT = b"{q}:count"


async def wakes(link: Link, timeout: float, *, there: bool = True) -> bool:
    """Whether the wait ended before its time, by a marker or by trouble."""
    if there:
        await link.run(
            NOTHING, [KEY], [], PATIENCE
        )  # else the answer would be that the server does not know the script
    whole = min(timeout, coredis_link.BLOCK)
    began = monotonic()
    woken = await link.run_when_woken(KEY, timeout, NOTHING, [KEY], [])
    assert woken is None or woken.reply == 1
    return woken is None or monotonic() - began < 0.9 * whole


async def test_the_script_runs_behind_the_wake_up_and_at_the_timeout(link: Link) -> None:
    await link.run(INCREMENT, [COUNT], [], PATIENCE)
    assert await link.run_when_woken(KEY, 0.05, INCREMENT, [COUNT], []) == (None, 2)
    await link.command("ZADD", KEY, 0, "the first marker", 1, "another")
    assert await link.run_when_woken(KEY, PATIENCE, INCREMENT, [COUNT], []) == (b"the first marker", 3)
    assert await link.run_when_woken(KEY, PATIENCE, INCREMENT, [COUNT], []) == (b"another", 4)
    assert await link.command("ZCARD", KEY) == 0


async def test_a_script_that_the_server_has_forgotten_is_no_error(real_server: Server) -> None:
    async with open_link(real_server.topology) as link:
        real_server.flush_scripts()
        assert await link.run_when_woken(KEY, 0.05, INCREMENT, [COUNT], []) is None


async def test_a_script_that_fails_is_left_to_the_plain_call(link: Link) -> None:
    await link.command("SET", COUNT, "text")
    with pytest.raises(ServerError):
        await link.run(INCREMENT, [COUNT], [], PATIENCE)
    assert await link.run_when_woken(KEY, 0.05, INCREMENT, [COUNT], []) is None


async def test_without_a_marker_the_wait_ends_at_its_timeout(link: Link) -> None:
    assert await wakes(link, 0.05) is False


async def test_a_marker_that_is_there_is_taken_once(link: Link) -> None:
    await link.run(MARK, [KEY], [], PATIENCE)
    assert await wakes(link, PATIENCE) is True
    assert await wakes(link, 0.05) is False


async def test_a_script_wakes_a_waiter(link: Link) -> None:
    async with anyio.create_task_group() as group:
        woken = await start_waiting(group, link)
        await anyio.wait_all_tasks_blocked()
        await link.run(MARK, [KEY], [], PATIENCE)
        with anyio.fail_after(PATIENCE):
            await woken.wait()


async def test_a_command_wakes_a_waiter(link: Link) -> None:
    async with anyio.create_task_group() as group:
        woken = await start_waiting(group, link)
        await anyio.wait_all_tasks_blocked()
        await link.command("ZADD", KEY, 0, "0")
        with anyio.fail_after(PATIENCE):
            await woken.wait()


async def test_each_marker_wakes_one_of_many_waiters(link: Link) -> None:
    async with anyio.create_task_group() as group:
        waiters = [await start_waiting(group, link) for _ in range(5)]
        await anyio.wait_all_tasks_blocked()
        for expected in range(1, 6):
            await link.run(MARK, [KEY], [], PATIENCE)
            await eventually(lambda: woken_at_least(waiters, expected))  # noqa: B023 - called before the next turn
            assert woken_of(waiters) == expected


async def test_a_cancelled_waiter_leaves_the_marker_to_others(link: Link) -> None:
    async with anyio.create_task_group() as group:
        await start_waiting(group, link)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    with anyio.fail_after(PATIENCE):
        while True:  # a real server may need a moment to notice that the first waiter is gone
            await link.run(MARK, [KEY], [], PATIENCE)
            if await wakes(link, 0.2):
                break


async def start_waiting(group: anyio.abc.TaskGroup, link: Link) -> anyio.Event:
    woken = anyio.Event()

    await link.run(NOTHING, [KEY], [], PATIENCE)

    async def wait() -> None:
        if await wakes(link, PATIENCE, there=False):
            woken.set()

    group.start_soon(wait)
    return woken


def woken_of(waiters: list[anyio.Event]) -> int:
    return sum(waiter.is_set() for waiter in waiters)


async def woken_at_least(waiters: list[anyio.Event], expected: int) -> bool:
    return woken_of(waiters) >= expected


async def test_a_server_that_is_not_there_counts_as_a_wake_up() -> None:
    async with open_link(Standalone(host="127.0.0.1", port=free_port())) as link:
        for _ in range(3):
            assert await wakes(link, PATIENCE, there=False) is True


async def test_a_killed_connection_counts_as_a_wake_up_and_the_next_wait_works(server: Server) -> None:
    async with open_link(server.topology) as link:
        for _ in range(3):
            async with anyio.create_task_group() as group:
                woken = await start_waiting(group, link)
                await blocked(server, 1)
                server.kill_clients()
                with anyio.fail_after(PATIENCE):
                    await woken.wait()
        assert await wakes(link, 0.05) is False


async def test_a_hung_server_counts_as_a_wake_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coredis_link, "BLOCK", 0.1)
    monkeypatch.setattr(coredis_link, "REPLY_TIMEOUT", 0.3)
    async with open_link(server.topology) as link:
        assert await wakes(link, 0.05) is False
        with server.paused():
            assert await wakes(link, PATIENCE, there=False) is True
        assert await wakes(link, 0.05) is False


async def test_a_key_of_another_type_counts_as_a_wake_up(link: Link) -> None:
    await link.command("SET", KEY, "text")
    assert await wakes(link, PATIENCE) is True


async def test_cancelled_waits_block_nobody_on_the_server(real_server: Server) -> None:
    async with open_link(real_server.topology) as link:
        for _ in range(5):
            async with anyio.create_task_group() as group:
                await start_waiting(group, link)
                await blocked(real_server, 1)
                group.cancel_scope.cancel()
            await blocked(real_server, 0)


async def blocked(server: Server, count: int) -> None:
    def reached() -> bool:
        return int(server.command("INFO", "clients")["blocked_clients"]) == count

    await anyio.to_thread.run_sync(wait_until, reached)


@pytest.mark.parametrize("kind", ["memory", "server"])
async def test_a_call_from_another_thread_and_loop_wakes_a_waiter(
    kind: str, real_server: Server, anyio_backend_name: str
) -> None:
    async with hosted(Memory() if kind == "memory" else real_server.topology) as place, open_link(place) as link:
        await link.command("DEL", KEY)
        async with anyio.create_task_group() as group:
            woken = await start_waiting(group, link)
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(in_another_loop, anyio_backend_name, place)
            with anyio.fail_after(PATIENCE):
                await woken.wait()


def in_another_loop(backend: str, place: Topology) -> None:
    async def mark() -> None:
        async with open_link(place) as other:
            await other.run(MARK, [KEY], [], PATIENCE)

    run: Callable[[], None] = lambda: anyio.run(mark, backend=backend)  # noqa: E731
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
