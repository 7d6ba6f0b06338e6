"""A worker inside of somebody else's program: its signals stay as they are, and it can be asked how it is over HTTP."""

from __future__ import annotations

import json
import signal
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, Worker, serve
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


async def test_a_worker_beside_an_application_touches_none_of_its_signals(place: Place) -> None:
    before, one, two = handlers(), place.worker(), place.worker(queue_name="other")
    async with running(one):
        assert handlers() == before
    async with anyio.create_task_group() as group:
        await group.start(serve, one, two)
        assert handlers() == before
        one.stop()
        two.stop()
    assert handlers() == before


async def test_a_running_worker_tells_that_it_is_ready_and_a_stopping_one_that_it_is_not(place: Place) -> None:
    worker, release = place.worker(grace_period=PATIENCE), anyio.Event()

    @worker.task
    async def wait() -> None:
        await release.wait()

    async with worker, anyio.create_task_group() as group:
        port = await group.start(worker.tell_health, "127.0.0.1:0")
        assert await asked(port, "/ready") == (503, ["it does not run"])
        assert await asked(port, "/health") == (200, ["it does not run"])

        async def is_ready() -> bool:
            return await asked(port, "/ready") == (200, [])

        async with anyio.create_task_group() as run:
            await run.start(worker.run_async)
            await eventually(is_ready)
            task = await wait.enqueue()
            await eventually(lambda: _is_running(port))
            worker.drain()
            assert await asked(port, "/ready") == (503, ["it is stopping"])
            assert (await asked(port, "/health"))[0] == 200
            release.set()
        assert (await task.result(timeout=PATIENCE)).success
        group.cancel_scope.cancel()


async def test_a_client_that_goes_away_or_sends_too_much_costs_nothing(place: Place) -> None:
    worker = place.worker()
    async with anyio.create_task_group() as group:
        port = await group.start(worker.tell_health, "0")
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET /hea")
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"x" * 100_000)
        assert (await asked(port, "/health"))[0] == 200
        with pytest.raises(ConfigurationError, match="choose another address"):
            await worker.tell_health(f"127.0.0.1:{port}")
        group.cancel_scope.cancel()


async def test_a_worker_whose_server_does_not_answer_is_not_ready(anyio_backend: object, tmp_path: Any) -> None:
    worker: Worker[Any] = Worker(f"unix://{tmp_path}/nobody", signing_secret=SECRET, handle_signals=False, deadline=1)
    async with anyio.create_task_group() as group:
        port = await group.start(worker.tell_health, "127.0.0.1:0")
        await group.start(worker.run_async)
        assert (await asked(port, "/ready"))[0] == 503  # it has not heard of its server yet
        await eventually(lambda: _has_noticed(port))
        group.cancel_scope.cancel()


async def _has_noticed(port: int) -> bool:
    return await asked(port, "/ready") == (503, ["the server of partition 0 does not answer"])


async def _is_running(port: int) -> bool:
    return bool((await body(port, "/ready"))[1]["workers"][0]["running"])


async def asked(port: int, path: str) -> tuple[int, list[str]]:
    """Status, and what is said to be wrong."""
    status, told = await body(port, path)
    return status, told["workers"][0]["problems"]


async def body(port: int, path: str) -> tuple[int, Any]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        got = b""
        try:
            while True:
                got += await stream.receive()
        except anyio.EndOfStream:
            pass
    head, _, text = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(text)
