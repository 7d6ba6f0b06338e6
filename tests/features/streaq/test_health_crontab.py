"""``health_crontab``, gone since streaQ 7: a worker writes now and then that it is well. Here it says so when asked."""

from __future__ import annotations

import pytest

from tests.servers import happens
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_worker_tells_how_it_is(place: Place) -> None:
    worker = place.worker()
    assert not worker.health().ready
    async with running(worker):
        await happens(lambda: worker.health().ready)
    assert not worker.health().ready
