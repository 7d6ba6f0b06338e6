"""Enqueuing "is very fast, it just sends a message": the response is there before the work."""

from __future__ import annotations

import anyio
import pytest

from tests.servers import PATIENCE, happens
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_response_comes_before_the_work(place: Place) -> None:
    worker, told = place.worker(), list[str]()
    responded = anyio.Event()

    @worker.task
    async def send_welcome_email() -> None:
        await responded.wait()
        told.append("work")

    async def handler() -> str:
        await send_welcome_email.enqueue()
        return "201 Created"

    async with running(worker):
        with anyio.fail_after(PATIENCE):
            told.append(await handler())
        responded.set()
        await happens(lambda: len(told) == 2)
    assert told == ["201 Created", "work"]
