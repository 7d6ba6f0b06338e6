"""A worker is killed in the middle of a hand-over from one partition to another; the next one takes it up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from secure_queue.partitions import generated_id
from tests.servers import PATIENCE, Server
from tests.system import app
from tests.system.processes import ROOT
from tests.worker.places import running

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


def run_until_it_dies(step: str, url: str) -> int:
    """Run a worker that is killed at *step*; returns how it ended."""
    command = [sys.executable, "-m", "tests.system.dying_relay", step]
    environment = os.environ | {"SECURE_QUEUE_URL": url}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, timeout=2 * PATIENCE, check=False
    ).returncode


@pytest.mark.parametrize("step", ["outgoing", "deliver", "sent"])
async def test_a_hand_over_that_was_cut_off_is_taken_up(
    real_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real_server.command("FLUSHALL")
    journal, url = tmp_path / "journal", f"unix://{real_server.unix_path}"
    monkeypatch.setenv(app.JOURNAL, str(journal))
    worker = app.make_worker(url, partitions=3, handle_signals=False)
    mark = next(task for name, task in worker.registry.items() if "mark" in name)
    parent, child, other = (mark.enqueue(number) for number in (1, 2, 3))
    for partition, task in enumerate((parent, child, other)):
        task.id = generated_id(task.jti, partition)
    async with worker:
        await worker.enqueue_many([child.start(after=parent), other.start(after=[parent, child])])
        assert run_until_it_dies(step, url) == -signal.SIGKILL
    async with running(worker):
        assert (await other.result(timeout=PATIENCE)).result == 3
    lines = [line.split() for line in journal.read_text().splitlines()]
    assert Counter((event, int(number)) for event, number, *_ in lines) == {
        (event, number): 1 for event in ("start", "end") for number in (1, 2, 3)
    }
