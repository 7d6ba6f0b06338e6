"""What a single server acknowledges, how long it is waited for, and what is said when its data was replaced."""

from __future__ import annotations

import logging

import anyio
import pytest

from secure_queue import ConfigurationError, Unavailable, Worker
from tests.servers import PATIENCE, Server, eventually, happens
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_one_copy_is_called_primary_and_more_is_refused_before_anything_is_sent(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def note() -> None: ...

    async with worker:
        task = note.enqueue()
        assert task.durability is None
        assert (await task).durability == "primary"
        with pytest.raises(ConfigurationError, match="'all' cannot be kept here"):
            await worker.enqueue_many([note.enqueue(), note.enqueue().start(durability="all")])
        with pytest.raises(ConfigurationError, match="one of primary, replicated, all, fsync"):
            note.enqueue().start(durability="safe")
        assert await worker.queue_size() == 1


@pytest.mark.parametrize("url", ["memory://", "embedded://", "redis://localhost"])
def test_a_worker_that_could_not_keep_its_level_is_not_made(url: str) -> None:
    with pytest.raises(ConfigurationError, match="'replicated' cannot be kept here"):
        Worker(url, durability="replicated", signing_secret=SECRET)


@pytest.mark.crossed
async def test_a_worker_says_that_the_data_of_its_queue_was_replaced(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "secure_queue.worker")
    async with running(place.worker()) as worker:
        await eventually(lambda: _has_generation(place))
        await place.link.command("FLUSHALL")
        await happens(lambda: worker.counters["dataset_replaced"] == 1)
        assert ["the data of this queue was replaced" in record.message for record in caplog.records] == [True]


async def _has_generation(place: Place) -> bool:
    return (
        await place.link.command("HEXISTS", place.keys.meta, "gen") == 1 and (await place.storage.counts()).workers == 1
    )


async def test_questions_and_enqueues_end_at_the_deadline_of_the_worker(server: Server) -> None:
    worker = Worker(f"unix://{server.unix_path}", signing_secret=SECRET, deadline=0.5)

    @worker.task
    async def note() -> None: ...

    async with worker:
        await note.enqueue()
        with server.paused(), anyio.fail_after(PATIENCE / 2):
            with pytest.raises(Unavailable, match=r"within 0\.5 s"):
                await worker.queue_size()
            with pytest.raises(Unavailable, match=r"within 0\.5 s"):
                await note.enqueue()
