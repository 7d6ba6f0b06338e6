"""``anyio_kwargs``: what the event loop is told at its start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from secure_queue import Worker


@pytest.mark.parametrize("debug", [False, True])
def test_they_reach_the_loop(debug: bool) -> None:
    seen: list[bool] = []

    def startup() -> None:
        seen.append(asyncio.get_running_loop().get_debug())

    worker: Worker[Any] = Worker("memory://", anyio_kwargs={"debug": debug}, startup=startup, handle_signals=False)
    worker.burst = True
    worker.run_sync()
    assert seen == [debug]
