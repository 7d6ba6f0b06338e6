"""``run_in_process=True``: a sync function runs in a process of its own instead of a thread."""

from __future__ import annotations

import os
from typing import Any

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker import process_tasks
from tests.worker.places import running

pytestmark = pytest.mark.anyio


async def test_it_does_not_run_here() -> None:
    worker: Worker[Any] = Worker("memory://", process_concurrency=1, handle_signals=False)
    square = worker.actor(name="square", process=True)(process_tasks.square)
    async with running(worker):
        number, pid = (await (await square.enqueue(12)).result(timeout=PATIENCE)).result
    assert number == 144
    assert pid != os.getpid()
