"""A queue for each test: on a real server with asyncio, in memory with trio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.worker.places import Place, open_place


@pytest.fixture
async def place(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Place]:
    """An empty queue."""
    kind = "server" if anyio_backend == "asyncio" else "memory"
    server = request.getfixturevalue("real_server") if kind == "server" else None
    async with open_place(kind, server) as opened:
        yield opened
