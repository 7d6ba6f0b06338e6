"""``default_retry_policy_factory(min_backoff=60, max_backoff=86400, multiplier=5, …)``: exponential, and by default too."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from secure_queue import RetryPolicy, Worker
from secure_queue.retry import DEFAULT_POLICY
from secure_queue.testing import TestWorker
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


async def test_the_pauses_grow_by_the_factor_up_to_the_cap() -> None:
    worker: Worker[Any] = Worker("redis://queue.invalid", signing_secret=SECRET)
    began: list[datetime] = []

    @worker.actor(max_tries=6, retry_policy=RetryPolicy(base=60, cap=3600, factor=5, jitter=0), silent=True)
    async def fail() -> None:
        began.append(queue.clock.now)
        raise LookupError

    async with TestWorker(worker, now=START) as queue:
        task = await fail.enqueue()
        await queue.finish()
        assert (await task.result()).tries == 6
    pauses = [(later - before).total_seconds() for before, later in pairwise(began)]
    assert pauses == [60, 300, 1500, 3600, 3600]


def test_the_default_doubles_and_spreads_what_failed_together() -> None:
    for tries, whole in ((1, 1.0), (2, 2.0), (5, 16.0), (40, 3600.0), (10**6, 3600.0)):
        pauses = {DEFAULT_POLICY(tries) for _ in range(50)}
        assert len(pauses) > 1
        assert all(whole / 2 <= pause <= whole for pause in pauses)
