"""The worker can be used "without needing to know anything specific": with nothing but the environment.

⚠ starlite-saqlalchemy has its application plugin start it; what a plugin of a web framework would do is not here.
"""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import Worker
from secure_queue.settings import KEYS_VARIABLE, URL_VARIABLE
from tests.servers import PATIENCE
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_a_worker_without_an_argument_is_complete(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, place.url)
    monkeypatch.setenv(KEYS_VARIABLE, SECRET)
    worker: Worker[Any] = Worker()

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with running(worker):
        assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
