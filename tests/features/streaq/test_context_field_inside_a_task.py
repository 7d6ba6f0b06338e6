"""``worker.context.<field>`` inside a task: one shared instance for each running worker, and no global variable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from secure_queue import Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


class Context(NamedTuple):
    pages: list[str]


async def test_all_tasks_of_a_worker_share_one_instance_and_workers_share_none(place: Place) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Context]:
        yield Context([])

    def one(name: str) -> tuple[Worker[Context], Any]:
        worker: Worker[Context] = place.worker(lifespan=lifespan, queue_name=name)

        @worker.task(name="add")
        async def add(page: str) -> int:
            worker.context.pages.append(page)
            return len(worker.context.pages)

        return worker, add

    (first, add_first), (second, add_second) = one("first"), one("second")
    async with running(first), running(second):
        for number, add in ((1, add_first), (2, add_first), (1, add_second)):
            assert (await (await add.enqueue("page")).result(timeout=PATIENCE)).result == number
        assert (len(first.context.pages), len(second.context.pages)) == (2, 1)
