"""``health_crontab``: a crontab expression for the moments at which a worker stores how it is; gone since streaQ 7.

Here a worker shows itself every five seconds anyway, under a seal. At those moments it does so once more, and tells the log.
"""

from __future__ import annotations

import logging

import pytest

from secure_queue import oversight
from tests.servers import PATIENCE, eventually, happens
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_a_worker_stores_how_it_is_at_those_moments(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oversight, "INTERVAL_S", 3600.0)  # nothing but the crontab is to make it tell
    caplog.set_level(logging.INFO, "secure_queue.health")
    often, never = place.worker(id="often", health_crontab="* * * * * *"), place.worker(id="never")

    @often.task(name="noop")
    @never.task(name="noop")
    async def noop() -> None: ...

    async def has_stored_it() -> bool:
        return any(one.name.startswith("often.") and one.processed == 1 for one in await often.processes())

    async with running(often):
        await (await often.enqueue_by_name("noop")).result(timeout=PATIENCE)
        await eventually(has_stored_it)
        await happens(lambda: "worker often of queue worker-tests is well: 0 running, 1 processed" in caplog.messages)
        async with running(never):
            said = len(caplog.records)
            await happens(lambda: len(caplog.records) > said)
    assert not [one for one in caplog.messages if one.startswith("worker never")]
