"""Run extra code at start and shutdown: the lifespan doubles as a hook, and there are hooks beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from secure_queue import Router
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_hooks_run_inside_of_the_lifespan_and_share_a_state_with_tasks(place: Place) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        told.append("open")
        yield "context"
        told.append("close")

    async def startup(ctx: dict[str, Any]) -> None:
        told.append(f"startup {worker.context}")
        ctx["pool"] = 7

    router = Router()
    worker = place.worker(lifespan=lifespan, startup=startup, shutdown=[lambda: told.append("shutdown")])
    worker.include(router)

    @router.on_startup
    def also() -> None:
        told.append(f"router {router.context}")

    @worker.on_shutdown
    async def before_that(ctx: dict[str, Any]) -> None:
        told.append(f"before that {ctx}")

    @worker.task
    async def use() -> int:
        assert router.state is worker.state
        number: int = worker.state["pool"]
        return number

    async with running(worker):
        assert (await (await use.enqueue()).result(timeout=PATIENCE)).result == 7
    inside = ["startup context", "router context", "before that {'pool': 7}", "shutdown"]
    assert told == ["open", *inside, "close"]
    assert worker.state == {}


async def test_a_producer_calls_none_of_them(place: Place) -> None:
    told: list[str] = []
    worker = place.worker(startup=lambda: told.append("startup"), shutdown=lambda: told.append("shutdown"))
    async with worker:
        await worker.queue_size()
    assert told == []


async def test_a_start_that_fails_ends_the_run_and_what_was_opened_is_closed(place: Place) -> None:
    told: list[str] = []

    def broken() -> None:
        raise LookupError("no database")

    def also_broken() -> None:
        told.append("also broken")
        raise OSError

    worker = place.worker(startup=broken, shutdown=[lambda: told.append("shutdown"), also_broken])
    with pytest.raises(OSError) as caught:
        await worker.run_async()
    assert isinstance(caught.value.__context__, LookupError)
    assert told == ["also broken", "shutdown"]
