"""A place for the public API, in memory and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.worker.places import Place, open_place


@pytest.fixture(params=["memory", "server"])
async def place(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[Place]:
    """An empty queue."""
    server = request.getfixturevalue("real_server") if request.param == "server" else None
    async with open_place(request.param, server) as opened:
        yield opened
