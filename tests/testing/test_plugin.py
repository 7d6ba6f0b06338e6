"""The pytest plugin: found when secure_queue is installed, free of charge for who does not use it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # most of these are processes of their own

APPLICATION = """
from secure_queue import Worker

worker = Worker("redis://queue.invalid", signing_secret="Zx4kQ9vT1bLw7RmY2cNd8HsJ5gPf0aUe3oXiVqB6KtE")
done = []

@worker.task
async def send(user: int) -> None:
    done.append((user, worker.context))
"""
CONFTEST = """
import pytest
from app import worker

@pytest.fixture
def queue_worker():
    return worker
"""
USES = """
from datetime import datetime, UTC
import pytest
from app import done, send

pytestmark = pytest.mark.anyio
START = datetime(2030, 1, 1, tzinfo=UTC)

@pytest.fixture
def queue_options():
    return {"now": START, "context": "fake"}

@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_sends(task_queue):
    await send.enqueue(7)
    task_queue.assert_enqueued(send.enqueue(7), times=1)
    assert await task_queue.drain() == {"completed": 1}
    assert done.pop() == (7, "fake")
    assert task_queue.clock.now == START
"""
USES_NOTHING = """
import sys

def test_nothing_of_it_is_loaded():
    assert "pytest_secure_queue" in sys.modules
    assert [name for name in sys.modules if name.partition(".")[0] in ("secure_queue", "coredis", "msgpack")] == []
"""
FORGETS_THE_WORKER = """
import pytest

@pytest.mark.anyio
async def test_without_a_worker(task_queue): ...
"""


def run(folder: Path, **files: str) -> str:
    """What pytest says of a project of these files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run([*command, "--rootdir", str(folder), str(folder)], cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_it_is_found_by_its_entry_point() -> None:
    assert [one.value for one in entry_points(group="pytest11") if one.name == "secure_queue"] == [
        "pytest_secure_queue"
    ]


def test_a_project_says_which_worker_it_has_and_gets_a_queue_for_each_test(tmp_path: Path) -> None:
    assert "2 passed" in run(tmp_path, app=APPLICATION, conftest=CONFTEST, test_uses=USES)


def test_who_does_not_use_it_loads_nothing_of_the_library(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, test_nothing=USES_NOTHING)


def test_who_forgets_to_say_which_worker_is_told_what_to_write(tmp_path: Path) -> None:
    assert "define a fixture queue_worker that returns it, in conftest.py" in run(tmp_path, test_it=FORGETS_THE_WORKER)


def test_the_library_loads_nothing_of_the_testing_kit() -> None:
    program = (
        "import sys, secure_queue.cli; print([one for one in sys.modules if one.startswith('secure_queue.testing')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
