"""The worker runs on the application's own event loop: beside its other work, and its signals are left alone if it wants."""

from __future__ import annotations

import signal
import threading

import anyio
import pytest

from tests.servers import PATIENCE
from tests.worker.places import Place

pytestmark = pytest.mark.anyio

ENDING = (signal.SIGINT, signal.SIGTERM)


async def test_it_shares_the_loop_and_ends_with_the_application(place: Place) -> None:
    worker = place.worker(handle_signals=False)
    here, ran_in = threading.get_ident(), list[int]()
    heard, before = list[str](), [signal.getsignal(number) for number in ENDING]

    @worker.task
    async def note() -> None:
        ran_in.append(threading.get_ident())

    async def application() -> None:
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            assert [signal.getsignal(number) for number in ENDING] == before
            task = await note.enqueue()
            await task.result(timeout=PATIENCE)
            heard.append("request answered")
            group.cancel_scope.cancel()

    with anyio.fail_after(PATIENCE):
        await application()
    assert (ran_in, heard) == ([here], ["request answered"])
