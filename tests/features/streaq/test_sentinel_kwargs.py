"""``sentinel_kwargs``: options for the connections to the sentinels, and for those to the data nodes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import ConfigurationError, Worker
from secure_queue.local.groups import MASTER, SentinelGroup
from secure_queue.local.node import LOOPBACK
from tests.servers import PATIENCE
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_a_login_for_the_sentinels_is_theirs_alone(real_sentinels: SentinelGroup) -> None:
    for sentinel in real_sentinels.sentinels:
        await sentinel.command("ACL", "SETUSER", "watcher", "on", ">good-password", "~*", "&*", "+@all")

    def one(password: str) -> Worker[Any]:
        return Worker(
            sentinel_nodes=[(LOOPBACK, node.port) for node in real_sentinels.sentinels],
            sentinel_master=MASTER,
            sentinel_kwargs={"username": "watcher", "password": password},
            queue_name="sentinel-kwargs",
            signing_secret=SECRET,
            handle_signals=False,
            deadline=2,
        )

    worker = one("good-password")  # the data nodes know no such user

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    try:
        async with running(worker):
            assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
        with pytest.raises(ConfigurationError, match="refused the login"):
            async with one("bad-password") as refused:
                await refused.queue_size()
    finally:
        for sentinel in real_sentinels.sentinels:
            await sentinel.command("ACL", "DELUSER", "watcher")
