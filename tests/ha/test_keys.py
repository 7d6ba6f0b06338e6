"""Unique keys through a failover: what was acknowledged still counts, and no key stays taken."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import Worker
from secure_queue.local.groups import ClusterGroup, SentinelGroup
from secure_queue.redis.slots import slot_of
from tests.ha.producers import QUEUE
from tests.servers import PATIENCE, Server, happens
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

TAG = f"{QUEUE}/0".encode()
KEYS = range(20)


def producer(url: str, ran: list[int]) -> tuple[Worker[Any], Any]:
    """A worker object, and its task of which one is queued for each key."""
    worker: Worker[Any] = Worker(url, queue_name=QUEUE, signing_secret=SECRET, handle_signals=False, degrade_after=0.2)

    @worker.task(name="charge", unique_key="customer")
    async def charge(customer: int) -> None:
        ran.append(customer)

    return worker, charge


async def primary_of(group: SentinelGroup | ClusterGroup) -> Server:
    return await (group.primary() if isinstance(group, SentinelGroup) else group.owner(slot_of(TAG)))


@pytest.mark.parametrize(("anyio_backend", "kind"), [("asyncio", "sentinels"), ("trio", "cluster")])
async def test_after_a_failover_no_second_task_of_a_key_gets_in_and_no_key_stays_taken(
    kind: str, request: pytest.FixtureRequest
) -> None:
    group, ran = request.getfixturevalue(kind), list[int]()
    (first, charge), (second, charge_too) = producer(group.url, ran), producer(group.url, ran)
    async with first:
        before = [charge.enqueue(key) for key in KEYS]
        await first.enqueue_many(before)
        assert {task.durability for task in before} == {"replicated"}
        old = await primary_of(group)
        old.kill()
        async with second:
            with anyio.fail_after(2 * PATIENCE):
                others = [charge_too.enqueue(key) for key in KEYS]
                await second.enqueue_many(others)  # by somebody who cannot say again what the first one has enqueued
            assert [task.duplicate_of for task in others] == [task.id for task in before]
            await happens(lambda: first.counters["replayed"])
        assert (await charge.enqueue(KEYS[0])).duplicate_of == before[0].id
        async with running(second):
            for task in before:
                assert (await task.result(timeout=PATIENCE)).success
        assert sorted(ran) == [*KEYS]
        after = [charge.enqueue(key) for key in KEYS]
        await first.enqueue_many(after)
        assert [task.existed for task in after] == [False] * len(KEYS)
