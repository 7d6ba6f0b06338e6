"""``redis_kwargs``: anything else for the client: a login, a database, TLS. What nobody knows is refused."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest
from coredis import Redis

from secure_queue import ConfigurationError, Worker
from secure_queue.errors import TopologyError
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_a_worker_logs_in_as_it_says(real_server: Server) -> None:
    real_server.command("ACL", "SETUSER", "kwargs", "on", ">good-password", "~sq:{kwargs/*", "&*", "+@all")
    url = f"unix://{real_server.unix_path}"

    def one(**redis_kwargs: Any) -> Worker[Any]:
        return Worker(
            url, redis_kwargs=redis_kwargs, queue_name="kwargs", signing_secret=SECRET, handle_signals=False, deadline=1
        )

    worker = one(username="kwargs", password="good-password")

    @worker.task
    async def who() -> list[str]:
        return sorted({client["user"] for client in real_server.clients() if client["user"] != "default"})

    try:
        async with running(worker):
            assert (await (await who.enqueue()).result(timeout=PATIENCE)).result == ["kwargs"]
        with pytest.raises(ConfigurationError, match="refused the login"):
            async with one(username="kwargs", password="bad-password") as refused:
                await refused.queue_size()
    finally:
        real_server.command("ACL", "DELUSER", "kwargs")


def test_what_nobody_knows_is_refused_and_no_password_is_told() -> None:
    with pytest.raises(TopologyError, match="unknown option 'passwort'") as caught:
        Worker("redis://localhost", redis_kwargs={"passwort": "s3cr3t-word"}, signing_secret=SECRET)
    assert "s3cr3t-word" not in str(caught.value)
    assert "s3cr3t-word" not in repr(
        Worker("redis://localhost", redis_kwargs={"password": "s3cr3t-word"}, signing_secret=SECRET)
    )


def test_what_tunes_a_client_of_coredis_is_taken_and_does_nothing() -> None:
    """Every option of the client but those that say which server it is and how to log in there."""
    which = {"host", "port", "unix_socket_path", "connection_pool", "connection_pool_cls"}
    login = {"db", "username", "password", "credential_provider"}
    options = [name for name in signature(Redis.__init__).parameters if not name.startswith("ssl")]
    tuning: dict[str, Any] = {name: 1 for name in options if name not in {"self", *which, *login}}
    assert {"stream_timeout", "connect_timeout", "max_connections", "retry_policy"} <= set(tuning)
    nodes = {"sentinel_nodes": ["h"], "sentinel_master": "mymaster"}
    for servers in ({"redis_url": "redis://h"}, {"cluster_nodes": ["h"]}, nodes | {"sentinel_kwargs": tuning}):
        tuned = Worker(**servers, redis_kwargs=tuning, signing_secret=SECRET, id="one")
        plain = Worker(**(servers | {"sentinel_kwargs": None}), signing_secret=SECRET, id="one")
        assert tuned.has_queue_of(plain)
