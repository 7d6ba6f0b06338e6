"""The recap sample: producer and consumer in one file; ``messages_limit=1`` ends it after one."""

from __future__ import annotations

import pytest

PROGRAM = """
import anyio
from secure_queue import Router, Worker

router = Router()

@router.actor
async def awesome_hello(name: str) -> None:
    print(f"Hello {name}")

worker = Worker("memory://", routers=[router], messages_limit=1)

async def main() -> None:
    async with worker:
        await worker.enqueue_by_name("awesome_hello", name="world")
        runner = await worker.run_async()
        print("processed:", runner.processed)

anyio.run(main)
"""


def test_one_file_enqueues_and_runs_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PROGRAM, "app.py", "exec"), {"__name__": "app"})
    assert capsys.readouterr().out == "Hello world\nprocessed: 1\n"
