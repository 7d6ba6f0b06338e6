"""``redis_kwargs``: anything else for the client: a login, a database, TLS. What nobody knows is refused."""

from __future__ import annotations

from typing import Any

import pytest

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
