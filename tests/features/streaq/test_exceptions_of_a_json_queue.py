"""⚠ With ``serializer=json.dumps`` a task of streaQ that fails ends its worker: JSON cannot hold an exception."""

from __future__ import annotations

import json

import pytest

from secure_queue import TaskFailed
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_failure_is_told_as_text_whatever_the_serializer(place: Place) -> None:
    worker = place.worker(serializer=json.dumps, deserializer=json.loads)

    @worker.task(max_tries=1, silent=True)
    async def fail() -> None:
        raise LookupError("no such row")

    @worker.task
    async def fine() -> str:
        return "fine"

    async with running(worker):
        error = (await (await fail.enqueue()).result(timeout=PATIENCE)).exception
        assert isinstance(error, TaskFailed)
        assert (error.remote_type, error.message) == ("LookupError", "no such row")
        assert (await (await fine.enqueue()).result(timeout=PATIENCE)).result == "fine"
