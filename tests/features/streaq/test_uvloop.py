"""uvloop is one line: ``anyio_kwargs={"use_uvloop": True}``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from secure_queue import Worker


@pytest.mark.parametrize("wanted", [True, False])
def test_one_line_turns_it_on(wanted: bool) -> None:
    seen: list[str] = []

    def startup() -> None:
        seen.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])

    kwargs = {"use_uvloop": True} if wanted else None
    worker: Worker[Any] = Worker("memory://", anyio_kwargs=kwargs, startup=startup, handle_signals=False)
    worker.burst = True
    worker.run_sync()
    assert seen == ["uvloop" if wanted else "asyncio"]
