"""Separate-process mode: heavy work is done in another process than the application's."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.servers import PATIENCE, Server
from tests.system.app import make_worker
from tests.system.processes import Fleet


@pytest.mark.slow
def test_the_jobs_of_an_application_run_in_the_process_of_a_worker(real_server: Server, tmp_path: Path) -> None:
    url = f"unix://{real_server.unix_path}"

    async def send() -> None:
        async with make_worker(url) as worker:
            mark = worker.registry["make_worker.<locals>.mark"]
            await worker.enqueue_many([mark.enqueue(number) for number in range(40)])

    real_server.command("FLUSHALL")
    with Fleet(tmp_path, url) as fleet:
        process = fleet.start(concurrency=4)
        anyio.run(send)
        fleet.wait_for(set(range(40)))
        assert {pid for event, _, pid, _ in fleet.lines() if event == "end"} == {process.pid}
        assert fleet.ended() == dict.fromkeys(range(40), 1)
        process.terminate()
        assert process.wait(PATIENCE) == 0
