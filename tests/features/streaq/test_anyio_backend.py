"""``anyio_backend``: on which kind of event loop ``run_sync`` runs, ``"asyncio"`` (the default) or ``"trio"``."""

from __future__ import annotations

from typing import Any

import pytest
import sniffio

from secure_queue import Worker


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_run_on_the_loop_that_was_asked_for(backend: str) -> None:
    ran: list[str] = []

    async def send() -> None:
        await note.enqueue()

    worker: Worker[Any] = Worker("memory://", anyio_backend=backend, startup=send, handle_signals=False)

    @worker.task
    async def note() -> None:
        ran.append(sniffio.current_async_library())

    worker.burst = True
    worker.run_sync()
    assert ran == [backend]


def test_it_is_asyncio_by_default() -> None:
    assert Worker("memory://").anyio_backend == "asyncio"
