"""Repid: "InMemoryMessageBroker: the same API with no server, for tests and tutorials", and its pytest plugin.

There the broker in memory is another implementation, which its users have to put in by themselves. Here the same scripts
run inside the process, and a test takes the application's own object as it is.
"""

from __future__ import annotations

import socket
from importlib.metadata import entry_points

import anyio
import pytest

from secure_queue import Worker
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address} was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


async def test_a_tutorial_runs_in_memory_with_the_same_calls_and_no_server(no_network: None) -> None:
    worker = Worker("memory://", handle_signals=False)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with worker, anyio.create_task_group() as group:
        group.start_soon(worker.run_async)
        task = await double.enqueue(21)
        assert (await task.result(5)).result == 42
        worker.drain()


async def test_the_object_of_an_application_is_tested_in_memory_without_a_change(no_network: None) -> None:
    worker = Worker("redis://redis.invalid", signing_secret=SECRET)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with TestWorker(worker) as queue:
        task = await double.enqueue(21)
        assert await queue.drain() == {"completed": 1}
        assert (await task.result()).result == 42


def test_there_is_a_pytest_plugin() -> None:
    (plugin,) = (one for one in entry_points(group="pytest11") if one.name == "secure_queue")
    assert {"queue_worker", "task_queue"} <= vars(plugin.load()).keys()
