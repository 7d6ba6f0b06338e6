"""``redis_url``: where the server is; ``redis://localhost:6379`` if neither the program nor the environment says."""

from __future__ import annotations

import pytest

from secure_queue import Worker
from secure_queue.redis.topology import Standalone
from secure_queue.settings import URL_VARIABLE
from tests.servers import PATIENCE, Server
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio


async def test_producer_and_worker_meet_where_it_leads(real_server: Server) -> None:
    urls = [f"unix://{real_server.unix_path}", f"unix://{real_server.unix_path}?db=0"]
    backend, worker = (Worker(url, queue_name="redis-url", signing_secret=SECRET, handle_signals=False) for url in urls)

    @worker.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with backend, running(worker):
        task = await backend.enqueue_by_name("double", 4)
        assert (await task.result(timeout=PATIENCE)).result == 8


def test_the_program_counts_then_the_environment_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def topology(*url: str) -> object:
        return Worker(*url, signing_secret=SECRET)._topology

    monkeypatch.delenv(URL_VARIABLE, raising=False)
    assert topology() == Standalone(host="localhost", port=6379)
    monkeypatch.setenv(URL_VARIABLE, "redis://queue.invalid:7000/3")
    assert topology() == Standalone(host="queue.invalid", port=7000, db=3)
    assert topology("redis://other.invalid") == Standalone(host="other.invalid", port=6379)
