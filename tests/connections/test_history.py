"""A link notices that its server was restarted, and only that."""

from __future__ import annotations

import logging
from dataclasses import replace

import anyio
import pytest

from secure_queue.redis.connect import open_link
from secure_queue.secret import Secret
from tests.servers import Server

pytestmark = pytest.mark.anyio


async def test_a_restart_begins_a_history_and_a_lost_connection_does_not(server: Server) -> None:
    changes: list[str] = []
    async with open_link(server.topology) as link:
        link.on_new_history(lambda: changes.append("changed"))
        await link.command("PING")
        server.kill_clients()
        await link.command("PING")
        assert changes == []
        server.kill()
        await anyio.to_thread.run_sync(server.start)
        await link.command("PING")
        assert changes == ["changed"]


async def test_a_user_who_may_not_ask_for_it_works_all_the_same(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "secure_queue.redis")
    server.command("ACL", "SETUSER", "narrow", "on", ">only-for-tests", "~*", "&*", "+@all", "-info")
    topology = replace(server.topology, username="narrow", password=Secret(b"only-for-tests"))
    async with open_link(topology) as link:
        for _ in range(2):
            assert await link.command("PING") == b"PONG"
            server.kill_clients()
    assert ["a restart of the server cannot be noticed" in record.message for record in caplog.records] == [True]
