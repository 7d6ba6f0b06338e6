"""``lifespan=``: code before ``yield`` runs at the start of a worker, code after it at its end, exceptions included."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_it_surrounds_the_life_of_a_worker(place: Place) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        told.append("start")
        yield
        told.append("end")

    worker = place.worker(lifespan=lifespan)
    for life in (1, 2):
        async with running(worker):
            assert told == ["start", "end"] * (life - 1) + ["start"]
        assert told == ["start", "end"] * life


async def test_it_sees_the_exception_that_ends_the_worker(place: Place) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        try:
            yield
        except LookupError as error:
            told.append(str(error))
            raise
        finally:
            told.append("closed")

    def broken() -> None:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        await place.worker(lifespan=lifespan, startup=broken).run_async()
    assert told == ["no database", "closed"]
