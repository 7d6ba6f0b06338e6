"""Opening and closing links: what goes on in the body is none of their business."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from secure_queue.errors import TopologyError
from secure_queue.redis.connect import hosted, open_link
from secure_queue.redis.link import Link
from secure_queue.redis.memory import MemoryServer
from secure_queue.redis.topology import Embedded, Memory, Standalone, Topology
from secure_queue.redis.urls import parse_url
from tests.conftest import lasting_keys
from tests.connections.scripts import ECHO, script
from tests.servers import EVERY_LOOP, PATIENCE, Server, wait_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["memory", "server", "embedded"])
async def test_an_error_of_the_body_leaves_the_link_as_it_is(kind: str, real_server: Server) -> None:
    topologies: dict[str, Topology] = {"memory": Memory(), "server": real_server.topology, "embedded": Embedded()}
    with pytest.raises(LookupError):  # not an exception group
        async with open_link(topologies[kind]) as link:
            await link.command("PING")
            raise LookupError


@pytest.mark.parametrize("anyio_backend", EVERY_LOOP)
async def test_a_cancelled_body_closes_the_link(server: Server) -> None:
    with anyio.move_on_after(PATIENCE) as scope:
        async with open_link(server.topology) as link:
            await link.command("PING")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    await anyio.to_thread.run_sync(wait_until, lambda: not server.clients())


async def test_the_end_closes_all_connections(server: Server) -> None:
    async with open_link(server.topology) as link, link.listen(b"channel"):
        await link.command("PING")
        await link.run_when_woken(b"wake", 0.01, ECHO, [b"wake"], ["x"])
        assert len(server.clients()) == 3
    await anyio.to_thread.run_sync(wait_until, lambda: not server.clients())


async def test_a_hundred_calls_at_once_need_few_connections(server: Server) -> None:
    async with open_link(server.topology) as link, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(echo, link, number)
    assert server.calls("hello") <= 4


async def echo(link: Link, number: int) -> None:
    assert await link.run(ECHO, [b"%d" % number], [number], PATIENCE) == [b"%d" % number, b"%d" % number]


async def test_an_idle_connection_is_used_again(server: Server) -> None:
    async with open_link(server.topology) as link:
        for _ in range(3):
            await link.command("PING")
            await anyio.wait_all_tasks_blocked()
        assert server.calls("hello") == 1


async def test_a_large_call_arrives_whole(link: Link) -> None:
    keys = [b"{q}:%d" % number for number in range(300)]
    values: list[bytes | int | str] = [bytes([number % 256]) * 300 for number in range(400)]
    count = await link.run(COUNT, keys, values, PATIENCE)
    assert count == [300, 400, 400 * 300]


COUNT = script("local n = 0 for _, v in ipairs(ARGV) do n = n + #v end return {#KEYS, #ARGV, n}")


async def test_keys_without_an_expiry_are_found(link: Link) -> None:
    await link.command("SET", "lasting", "value")
    await link.command("SET", "passing", "value", "PX", 100_000)
    assert await lasting_keys(link) == [b"lasting"]


async def test_links_to_a_hosted_private_server_share_its_data() -> None:
    for topology in (Memory(), Embedded()):
        async with hosted(topology) as place:
            async with open_link(place) as one, open_link(place) as two:
                await one.command("SET", "key", "value")
                assert await two.command("GET", "key") == b"value"
            async with open_link(place) as three:
                assert await three.command("GET", "key") == b"value"


async def test_private_servers_are_private() -> None:
    async with open_link(Memory()) as one, open_link(Memory()) as two:
        await one.command("SET", "key", "value")
        assert await two.command("GET", "key") is None


async def test_a_named_memory_server_is_shared_and_ends_with_its_last_user() -> None:
    async with open_link(Memory("shared")) as one:
        async with open_link(Memory("shared")) as two:
            await one.command("SET", "key", "value")
            assert await two.command("GET", "key") == b"value"
        assert await one.command("GET", "key") == b"value"
    async with open_link(Memory("shared")) as three:
        assert await three.command("GET", "key") is None
    assert not MemoryServer._known


async def test_a_topology_with_a_server_of_its_own_is_hosted_as_it_is() -> None:
    topology: Topology = Standalone(unix_path=str(Path("/nowhere")))
    async with hosted(topology) as place:
        assert place is topology


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
async def test_a_certificate_file_that_is_not_there_is_told_by_itself(kind: str, tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="ssl_ca_certs"):
        async with open_link(parse_url(f"rediss{kind}://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/none.pem")):
            pass
