"""A task defined on ``other`` can be enqueued without the main worker: ``foobar.enqueue()`` just works."""

from __future__ import annotations

import pytest

from secure_queue import ConfigurationError
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_its_module_needs_to_know_nothing_of_the_main_worker(place: Place) -> None:
    worker, other = place.worker(), place.worker()

    @other.task
    async def leaf(number: int) -> int:
        return number + 1

    @other.task
    async def root() -> int:
        task = await leaf.enqueue(1)
        return (await task.result(timeout=PATIENCE)).result

    async with other:  # a producer that has loaded that module alone
        early = await leaf.enqueue(10)
    worker.include(other)
    async with running(worker):
        assert (await early.result(timeout=PATIENCE)).result == 11
        assert (await (await root.enqueue()).result(timeout=PATIENCE)).result == 2


async def test_a_module_in_two_workers_belongs_to_the_one_that_runs(place: Place) -> None:
    one, two, other = place.worker(), place.worker(queue_name="second"), place.worker(queue_name="third")

    @other.task
    async def leaf() -> str:
        return leaf.context.worker_id

    @other.task
    async def root() -> str:
        return (await (await leaf.enqueue()).result(timeout=PATIENCE)).result

    one.include(other)
    two.include(other)
    with pytest.raises(ConfigurationError, match="enqueue_by_name"):
        leaf.enqueue()
    async with running(one), running(two):
        for worker in (one, two):
            task = await worker.enqueue_by_name(root.fn_name)
            assert (await task.result(timeout=PATIENCE)).result == worker.id
