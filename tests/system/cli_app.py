"""The application that the tests of the command line run: ``secure-queue run tests.system.cli_app:worker``."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import anyio

from secure_queue import Worker

QUEUE = "SECURE_QUEUE_TEST_QUEUE"
JOURNAL = "SECURE_QUEUE_TEST_JOURNAL"
DEADLINE = "SECURE_QUEUE_TEST_DEADLINE"

worker: Worker[None] = Worker(
    queue_name=os.environ.get(QUEUE, "cli"),
    idle_timeout=5,
    concurrency=4,
    deadline=float(os.environ.get(DEADLINE, "20")),
    redact_failures=False,  # its dead letters must show what they are told
)

second: Worker[None] = Worker(queue_name=f"{os.environ.get(QUEUE, 'cli')}-second")


@worker.task(name="note", ttl=60)
async def note(number: int, seconds: float = 0.0) -> int:
    _write(f"start {number}")
    await anyio.sleep(seconds)
    _write(f"end {number}")
    return number


@worker.task(name="fail", max_tries=1, silent=True)
async def fail(message: str) -> None:
    raise ValueError(message)


@worker.task(name="fail_otherwise", max_tries=1, silent=True)
async def fail_otherwise() -> None:
    raise KeyError("other")


@worker.task(name="seats", ttl=60)
async def seats() -> int:
    return worker.concurrency


@worker.task(name="hang", ttl=60)
def hang(number: int) -> None:
    _write(f"start {number}")
    threading.Event().wait(600)


def _write(line: str) -> None:
    """One short line in append mode: those of several processes do not mix."""
    journal = os.open(Path(os.environ[JOURNAL]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, f"{line} {os.getpid()}\n".encode())
    finally:
        os.close(journal)
