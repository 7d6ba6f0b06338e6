"""Context variables go with a call: from where it is enqueued to the task, and on to what that enqueues."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

import pytest

from secure_queue import ConfigurationError
from tests.features.conftest import place as place
from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio

trace: ContextVar[str] = ContextVar("trace", default="none")
tenant: ContextVar[dict[str, int]] = ContextVar("tenant")


async def test_a_task_sees_the_variables_of_its_producer_and_hands_them_on(place: Place) -> None:
    worker = place.worker(concurrency=2)
    worker.carry(trace)
    worker.carry(tenant, name="x-tenant", dump=json.dumps, load=json.loads)

    @worker.task
    def leaf() -> list[Any]:
        return [trace.get(), tenant.get(None), dict(leaf.context.headers)]

    @worker.task(retry_policy=AT_ONCE)
    async def root() -> list[Any]:
        if root.context.tries == 1:
            raise LookupError
        found: list[Any] = (await (await leaf.enqueue()).result(timeout=PATIENCE)).result
        return found

    async with running(worker):
        trace.set("4bf92f")
        tenant.set({"id": 7})
        outcome = await (await root.enqueue()).result(timeout=PATIENCE)
        assert outcome.result == ["4bf92f", {"id": 7}, {"trace": "4bf92f", "x-tenant": '{"id": 7}'}]


async def test_the_next_task_does_not_see_them_and_its_seat_stays(place: Place) -> None:
    worker = place.worker(concurrency=1)
    user: ContextVar[str] = ContextVar("user", default="nobody")
    worker.carry(user)

    @worker.task
    async def who() -> str:
        return user.get()

    async with running(worker):
        token = user.set("alice")
        first = await who.enqueue()
        user.reset(token)
        second = await who.enqueue()
        assert [(await one.result(timeout=PATIENCE)).result for one in (first, second)] == ["alice", "nobody"]


async def test_headers_that_a_call_sets_itself_count_and_unset_variables_say_nothing(place: Place) -> None:
    worker = place.worker()
    unset: ContextVar[str] = ContextVar("unset")
    worker.carry(trace)
    worker.carry(unset)

    @worker.task
    async def job() -> list[Any]:
        return [trace.get(), dict(job.context.headers)]

    async with running(worker):
        trace.set("mine")
        task = await job.enqueue().start(headers={"trace": "of the call"})
        assert (await task.result(timeout=PATIENCE)).result == ["of the call", {"trace": "of the call"}]


async def test_text_that_does_not_load_fails_its_own_task(place: Place) -> None:
    worker = place.worker()
    number: ContextVar[int] = ContextVar("number")
    worker.carry(number, load=int)

    @worker.task(max_tries=1)
    async def job() -> int:
        return number.get()

    async with running(worker):
        bad = await job.enqueue().start(headers={"number": "seven"})
        assert not (await bad.result(timeout=PATIENCE)).success
        number.set(7)
        assert (await (await job.enqueue()).result(timeout=PATIENCE)).result == 7
    with pytest.raises(ConfigurationError, match="header"):
        worker.carry(number, name="no such name")
