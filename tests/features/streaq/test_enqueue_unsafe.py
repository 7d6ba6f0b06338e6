"""``worker.enqueue_unsafe("fetch", …)`` enqueues by name. ⚠ In streaQ such a task loses its ``expire``."""

from __future__ import annotations

import pytest

from secure_queue.payload.codec import Purpose, parse_envelope
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_name_is_enough_to_enqueue(place: Place) -> None:
    backend, worker = place.worker(), place.worker()

    @worker.task(name="fetch", max_tries=7, timeout=12)
    async def fetch(url: str, *, retries: int = 0) -> str:
        return f"{url} {retries} {fetch.context.max_tries} {fetch.context.timeout}"

    async with backend, running(worker):
        task = await backend.enqueue_unsafe("fetch", "page", retries=3)
        assert (await task.result(timeout=PATIENCE)).result == "page 3 7 12.0"
    assert backend.enqueue_unsafe.__func__ is backend.enqueue_by_name.__func__


@pytest.mark.parametrize("declared", ["task", "stub", "nowhere"])
async def test_it_loses_nothing_that_is_declared(place: Place, declared: str) -> None:
    worker = place.worker(expire=900)
    if declared != "nowhere":

        @getattr(worker, declared)(name="urgent", expire=30, encrypt=True)
        async def urgent() -> None: ...

    async with worker:
        task = await worker.enqueue_by_name("urgent")
        record = await place.storage.look_up(task.id.encode())
        assert isinstance(record.untrusted_task, bytes)
        seen = parse_envelope(record.untrusted_task)
    assert seen.purpose == Purpose.TASK
    assert seen.expires_ms is not None
    assert seen.expires_ms - seen.issued_ms == (900_000 if declared == "nowhere" else 30_000)
    assert (seen.suite == 2) is (declared != "nowhere")
