"""A subscription is confirmed on entry, delivers bytes, and its loss is an error of the iterator and of nothing else."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from secure_queue.errors import Unavailable
from secure_queue.redis import coredis_link
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.topology import Standalone
from tests.connections.scripts import PUBLISH
from tests.servers import PATIENCE, Server, eventually, free_port, wait_until

pytestmark = pytest.mark.anyio

CHANNEL = b"{q}:done"


async def publish(link: Link, message: bytes) -> object:
    return await link.run(PUBLISH, [], [CHANNEL, message], PATIENCE)


async def test_messages_arrive_in_order_as_bytes(link: Link) -> None:
    sent = [b"first", b"\x00\xff\r\n", b""]
    async with link.listen(CHANNEL) as messages:
        for message in sent:
            assert await publish(link, message) == 1
        with anyio.fail_after(PATIENCE):
            assert [await anext(messages) for _ in sent] == sent


async def test_commands_publish_too(link: Link) -> None:
    async with link.listen(CHANNEL) as messages:
        assert await link.command("PUBLISH", CHANNEL, "text") == 1
        with anyio.fail_after(PATIENCE):
            assert await anext(messages) == b"text"


async def test_other_channels_are_not_heard(link: Link) -> None:
    async with link.listen(b"{q}:other") as messages:
        assert await publish(link, b"not for us") == 0
        with anyio.move_on_after(0.05) as scope:
            await anext(messages)
        assert scope.cancelled_caught


async def test_every_listener_hears_every_message(link: Link) -> None:
    async with link.listen(CHANNEL) as one, link.listen(CHANNEL) as two:
        assert await publish(link, b"both") == 2
        with anyio.fail_after(PATIENCE):
            assert [await anext(one), await anext(two)] == [b"both", b"both"]


async def test_a_listener_may_be_cancelled_and_go_on(link: Link) -> None:
    async with link.listen(CHANNEL) as messages:
        for number in range(3):
            with anyio.move_on_after(0.01):
                await anext(messages)
            await publish(link, b"%d" % number)
            with anyio.fail_after(PATIENCE):
                assert await anext(messages) == b"%d" % number


async def test_after_the_end_nobody_listens(link: Link) -> None:
    async with link.listen(CHANNEL):
        pass

    async def nobody_listens() -> bool:  # a real server may need a moment to notice
        return await publish(link, b"nobody") == 0

    await eventually(nobody_listens)


async def test_many_subscriptions_leave_no_connection_behind(server: Server) -> None:
    async with open_link(server.topology) as link:
        for _ in range(200):  # more than there are slots
            async with link.listen(CHANNEL):
                pass
        await anyio.to_thread.run_sync(wait_until, lambda: len(server.clients()) == 0)


async def test_a_killed_subscription_ends_the_iterator_and_not_the_body(server: Server) -> None:
    async with open_link(server.topology) as link:
        async with link.listen(CHANNEL) as messages:
            server.kill_clients("pubsub")
            with anyio.fail_after(PATIENCE), pytest.raises(Unavailable, match="subscription"):
                await anext(messages)
            await anyio.lowlevel.checkpoint()  # nothing cancels us
            assert await link.command("PING") == b"PONG"
            with pytest.raises(Unavailable):
                await anext(messages)
        async with link.listen(CHANNEL) as messages:
            await publish(link, b"again")
            assert await anext(messages) == b"again"


async def test_a_killed_server_ends_the_iterator(server: Server) -> None:
    async with open_link(server.topology) as link, link.listen(CHANNEL) as messages:
        server.kill()
        with anyio.fail_after(PATIENCE), pytest.raises(Unavailable):
            await anext(messages)


async def test_a_hung_server_ends_the_iterator(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coredis_link, "QUIET", 0.1)
    monkeypatch.setattr(coredis_link, "REPLY_TIMEOUT", 0.3)
    async with open_link(server.topology) as link, link.listen(CHANNEL) as messages:
        with server.paused(), anyio.fail_after(PATIENCE), pytest.raises(Unavailable):
            await anext(messages)


async def test_a_silent_subscription_stays(real_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coredis_link, "QUIET", 0.02)
    async with open_link(real_server.topology) as link, link.listen(CHANNEL) as messages:
        with anyio.move_on_after(0.2):
            await anext(messages)
        await publish(link, b"after the silence")
        with anyio.fail_after(PATIENCE):
            assert await anext(messages) == b"after the silence"


async def test_without_a_server_the_entry_fails_at_the_deadline() -> None:
    topology = Standalone(host="127.0.0.1", port=free_port())
    async with open_link(topology, deadline=0.2) as link:
        with pytest.raises(Unavailable):
            async with link.listen(CHANNEL):
                pytest.fail("there is no server")


async def test_a_listener_may_be_entered_while_the_server_is_down(server: Server) -> None:
    server.kill()
    async with open_link(server.topology) as link, anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, server.start)
        async with link.listen(CHANNEL) as messages:
            await publish(link, b"up")
            assert await anext(messages) == b"up"
