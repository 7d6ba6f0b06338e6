"""What a worker gives to its tasks: the lifespan's context and the facts of the run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from secure_queue import Retry, SecureQueueError, TaskContext
from tests.servers import PATIENCE
from tests.worker.places import PRIORITY, Place, running

pytestmark = pytest.mark.anyio


async def test_the_lifespan_surrounds_the_run_and_its_value_is_the_context(place: Place) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, int]]:
        events.append("open")
        yield {"connection": 7}
        events.append("close")

    worker = place.worker(lifespan=lifespan)

    @worker.task
    async def use() -> int:
        events.append("task")
        number: int = worker.context["connection"]
        return number

    async with running(worker):
        assert (await (await use.enqueue()).result(timeout=PATIENCE)).result == 7
        assert worker.context == {"connection": 7}
    assert events == ["open", "task", "close"]


async def test_a_producer_has_no_context_and_is_told_why(place: Place) -> None:
    worker = place.worker()
    async with worker:
        with pytest.raises(SecureQueueError, match="run_async"):
            _ = worker.context


async def test_an_error_of_the_lifespan_ends_the_run_as_it_is(place: Place) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    worker = place.worker(lifespan=lifespan)
    with pytest.raises(LookupError, match="no database"):
        await worker.run_async()


async def test_a_run_knows_its_facts(place: Place) -> None:
    worker = place.worker(id="worker-1")
    facts: list[TaskContext] = []

    @worker.task(name="facts", max_tries=4, timeout=20, ttl=30)
    async def tell() -> None:
        facts.append(tell.context)

    async with running(worker):
        task = await tell.enqueue()
        await task.result(timeout=PATIENCE)
    [context] = facts
    assert context == TaskContext(task.id, "facts", 1, 4, 20.0, 30.0, PRIORITY, context.idempotency_key, "worker-1")


async def test_the_idempotency_key_is_the_same_for_every_try_and_another_for_every_enqueue(place: Place) -> None:
    worker = place.worker()
    keys: list[str] = []

    @worker.task
    async def twice() -> None:
        keys.append(twice.context.idempotency_key)
        if twice.context.tries == 1:
            raise Retry(delay=0)

    async with running(worker):
        for _ in range(2):
            await (await twice.enqueue()).result(timeout=PATIENCE)
    assert keys[0] == keys[1] != keys[2] == keys[3]


async def test_outside_of_a_task_there_is_no_task_context(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def noop() -> None: ...

    with pytest.raises(SecureQueueError, match="while a task runs"):
        _ = noop.context


async def test_a_task_does_not_see_the_context_variables_of_another(place: Place) -> None:
    worker = place.worker(concurrency=1)
    user: ContextVar[str] = ContextVar("user", default="nobody")

    @worker.task
    async def login() -> None:
        user.set("alice")

    @worker.task
    async def who() -> str:
        return user.get()

    async with running(worker):
        for _ in range(3):
            await (await login.enqueue()).result(timeout=PATIENCE)
            assert (await (await who.enqueue()).result(timeout=PATIENCE)).result == "nobody"
