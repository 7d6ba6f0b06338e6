"""A job has an ``id_``, ``retries``, a ``timeout`` and a ``ttl`` of its own, beside those of its actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, TaskContext
from secure_queue.payload.codec import parse_envelope
from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


async def test_the_options_of_a_call_take_the_place_of_those_of_the_task(place: Place) -> None:
    worker = place.worker()
    seen: list[TaskContext] = []

    @worker.task(max_tries=1, timeout=50, ttl=0, retry_policy=AT_ONCE)
    async def job() -> str:
        seen.append(job.context)
        if job.context.tries < 3:
            raise LookupError
        return "third try"

    async with running(worker):
        task = await job.enqueue().start(id="order:7", max_tries=3, timeout=20, ttl=60)
        assert task.id == "order:7"
        assert (await task.result(timeout=PATIENCE)).result == "third try"
    assert {(one.task_id, one.max_tries, one.timeout, one.ttl) for one in seen} == {("order:7", 3, 20.0, 60.0)}


async def test_the_timeout_of_a_call_ends_it(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=3600, retry_timeouts=True, max_tries=9, retry_policy=AT_ONCE)
    async def endless() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        task = await endless.enqueue().start(timeout=0.05, max_tries=2)
        outcome = await task.result(timeout=PATIENCE)
        assert (str(outcome.exception), outcome.tries) == ("TimeoutError: the task exceeded its timeout", 2)


async def test_what_the_sender_decides_is_said_in_the_envelope(place: Place) -> None:
    worker = place.worker()

    @worker.task(expire=500, encrypt=True)
    async def job() -> None: ...

    async with worker:
        for expire, encrypt, suite in ((7, None, 2), (8, False, 1)):
            task = await job.enqueue().start(expire=expire, encrypt=encrypt)
            stored = (await place.storage.look_up(task.id.encode())).untrusted_task
            assert isinstance(stored, bytes)
            envelope = parse_envelope(stored)
            assert envelope.expires_ms is not None
            assert (envelope.expires_ms - envelope.issued_ms, envelope.suite) == (1000 * expire, suite)


async def test_options_and_headers_add_up_and_survive_schedules_and_dead_letters(place: Place) -> None:
    worker = place.worker()
    seen: list[tuple[dict[str, str], int | None]] = []

    @worker.task
    async def job(*, fails: bool) -> None:
        seen.append((dict(job.context.headers), job.context.max_tries))
        worker.drain()  # each life of the worker is one run
        if fails and len(seen) == 1:
            raise LookupError

    async with worker:
        task = job.enqueue(fails=True).start(headers={"trace": "a", "tenant": "x"}, max_tries=1)
        await task.start(headers={"trace": "b"}, delay=0.01)
        info = await task.info()
        assert info is not None
        assert info.headers == {"trace": "b", "tenant": "x"}
        await worker.run_async()
        await worker.retry_dead_letter(task.id)
        await worker.run_async()
        await job.enqueue(fails=False).start(schedule="* * * * * *", headers={"trace": "c"}, max_tries=4, id="often")
        await worker.run_async()
        assert await worker.unschedule_by_id("often")
    assert seen[:3] == [({"trace": "b", "tenant": "x"}, 1)] * 2 + [({"trace": "c"}, 4)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tries": 0},
        {"timeout": 0},
        {"ttl": -1},
        {"expire": 0},
        {"id": "a b"},
        {"headers": {"a": 1}},
        {"headers": {"no such name": "x"}},
        {"headers": {f"n{number}": "" for number in range(65)}},
        {"headers": {"a": "x" * 32_768}},
    ],
    ids=lambda wrong: "-".join(wrong),
)
async def test_what_is_out_of_range_is_refused_at_once(place: Place, wrong: dict[str, Any]) -> None:
    job: Callable[..., Any] = place.worker().task(name="job")(lambda: None).enqueue
    with pytest.raises(ConfigurationError):
        job().start(**wrong)
    with pytest.raises(TypeError, match="no such option"):
        job().start(retries=3)
