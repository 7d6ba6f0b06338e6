"""The "optimized mode" of coredis, which leaves out checks at run time, is a variable of the environment."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.servers import PATIENCE, Server
from tests.tour.blocks import ROOT
from tests.worker.places import SECRET

PROGRAM = """
import anyio, sys
from coredis.config import Config
from secure_queue import Worker

worker = Worker(sys.argv[1], queue_name="optimized", handle_signals=False)

@worker.task
async def double(number: int) -> int:
    return 2 * number

async def main() -> None:
    async with worker:
        worker.burst = True
        task = await double.enqueue(21)
        await worker.run_async()
        print(Config.optimized, (await task.result(timeout=5)).result)

anyio.run(main)
"""


def test_tasks_run_in_it(real_server: Server) -> None:
    environment = os.environ | {"COREDIS_OPTIMIZED": "true", "SECURE_QUEUE_KEYS": SECRET}
    command = [sys.executable, "-c", PROGRAM, f"unix://{real_server.unix_path}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("True 42\n", "")
