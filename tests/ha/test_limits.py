"""Limits and pauses go over to the new primary: none runs too many, none is forgotten."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import ConcurrencyLimit, RateLimit, Worker
from secure_queue.local.groups import SentinelGroup, until_copied
from secure_queue.local.node import Node
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.slots import slot_of
from tests.servers import PATIENCE, happens
from tests.worker.places import SECRET, running

pytestmark = pytest.mark.anyio

QUEUE = "limited"
SLOT = slot_of(QueueKeys(QUEUE, ("normal",)).tag)


async def primary_of(group: object) -> tuple[Node, int]:
    """Who has the queue, and how many replicas of it there are."""
    if isinstance(group, SentinelGroup):
        return await group.primary(), 2
    return await group.owner(SLOT), 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
async def test_limits_and_a_pause_hold_after_a_failover_and_nobody_waits_for_ever(
    kind: str, request: pytest.FixtureRequest
) -> None:
    group = request.getfixturevalue(kind)
    common = {"queue_name": QUEUE, "signing_secret": SECRET, "degrade_after": 1}
    worker: Worker[None] = Worker(group.url, handle_signals=False, concurrency=8, **common)  # type: ignore[arg-type]
    release, now, most, sent = anyio.Event(), set[int](), list[int](), list[int]()

    @worker.task(limits=ConcurrencyLimit(2))
    async def work(number: int) -> int:
        now.add(number)
        most.append(len(now))
        await release.wait()
        await anyio.sleep(0.01)  # so that too many would be seen together
        now.discard(number)
        return number

    @worker.task(limits=RateLimit(2, per=3600))
    async def seldom(number: int) -> int:
        return number

    @worker.task(name="mail")
    async def mail(number: int) -> None:
        sent.append(number)

    async with Worker(group.url, **common) as operator:  # type: ignore[arg-type]
        await operator.pause(task="mail")
        async with running(worker):
            works = [work.enqueue(number) for number in range(8)]
            mails = [mail.enqueue(number) for number in range(3)]
            rated = [seldom.enqueue(number) for number in range(4)]
            await worker.enqueue_many([*works, *mails, *rated])
            await happens(lambda: worker.counters["parked"] >= 8 and worker.counters["shelved"] == 3)
            old, replicas = await primary_of(group)
            await until_copied(old, replicas)
            old.kill()
            more = [work.enqueue(number) for number in range(8, 12)]
            await worker.enqueue_many([*more, mail.enqueue(3)])
            assert [pause.task for pause in await operator.paused()] == ["mail"]
            release.set()
            done = [(await task.result(timeout=2 * PATIENCE)).result for task in (*works, *more)]
            assert done == list(range(12)) and max(most) == 2
            assert sum([(await task.status()).value == "done" for task in rated]) == 2
            await happens(lambda: worker.counters["shelved"] == 4)
            assert sent == []
            assert await operator.resume(task="mail")
            assert all([(await task.result(timeout=PATIENCE)).success for task in mails])
            await happens(lambda: sorted(sent) == [0, 1, 2, 3])
