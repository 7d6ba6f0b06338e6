"""streaQ, Workers, Serializer: "for speed or security reasons" another one removes pickle from every path.

There, handed-over values and failures go through the serializer too, and what it cannot write ends the worker.
"""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from secure_queue import TaskFailed
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_values_failures_and_chains_travel_without_pickle(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = place.worker(serializer=json.dumps, deserializer=json.loads)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    @worker.task(max_tries=1, silent=True)
    async def fail(number: int) -> int:
        raise ValueError("on purpose")

    @worker.task
    async def kinds(results: list[Any]) -> list[str]:
        return [type(result).__name__ for result in results]

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("dumps", "loads", "dump", "load", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    async with running(worker):
        chain = double.enqueue(1) | double
        group = worker.group([double.enqueue(1), fail.enqueue(1)], on="end") | kinds
        fallback = fail.enqueue(3) ^ double
        await worker.enqueue_many([chain, group, fallback])
        found = [(await task.result(timeout=PATIENCE)).result for task in (chain, group, fallback)]
        assert found == [4, ["int", "TaskFailed"], 6]
        failed = await (fail.enqueue(1) | double)
        assert isinstance((await failed.result(timeout=PATIENCE)).exception, TaskFailed)
