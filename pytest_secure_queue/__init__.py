"""The pytest plugin of secure_queue: fixtures that put a worker object into memory.

It stands beside the package so that pytest, which loads every plugin that is installed, loads nothing but this file: who
uses no fixture of it pays nothing. The fixtures are asynchronous; they run wherever anyio's plugin (which is installed with
secure_queue) runs the test, on asyncio and trio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from secure_queue import Worker
    from secure_queue.testing import TestWorker


@pytest.fixture
def queue_worker() -> Worker[Any]:
    """The worker object under test; an application says in its conftest.py which one that is."""
    pytest.fail("say which worker is tested: define a fixture queue_worker that returns it, in conftest.py")


@pytest.fixture
def queue_options() -> dict[str, Any]:
    """The options of ``TestWorker`` (``now=``, ``context=``, …); a test or a module may have others."""
    return {}


@pytest.fixture
async def task_queue(
    queue_worker: Worker[Any], queue_options: dict[str, Any], anyio_backend: object
) -> AsyncIterator[TestWorker]:
    """An open ``TestWorker`` of the worker under test, with an empty queue."""
    from secure_queue.testing import TestWorker

    async with TestWorker(queue_worker, **queue_options) as opened:
        yield opened
