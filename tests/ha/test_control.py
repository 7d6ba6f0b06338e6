"""Control and running behind Sentinel and in a Cluster, over two partitions: one application that uses all of it."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from secure_queue import ConcurrencyLimit, RateLimit, TaskStatus, Worker, serve
from secure_queue.partitions import generated_id
from secure_queue.presence import WORKER
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE, eventually, happens
from tests.worker import process_tasks
from tests.worker.places import SECRET, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("topology", ["sentinels", "cluster"])]


def shop(request: pytest.FixtureRequest, topology: str, name: str, **options: Any) -> Worker[Any]:
    """A worker object whose queue is this test's."""
    url = request.getfixturevalue(f"real_{topology}").url
    loop = request.node.callspec.params["anyio_backend"]
    options = {"partitions": 2, "signing_secret": SECRET, "handle_signals": False} | options
    return Worker(url, queue_name=f"{name}-{loop}", **options)


async def test_keys_lines_turns_limits_and_pauses_hold(request: pytest.FixtureRequest, topology: str) -> None:
    worker = shop(request, topology, "control", concurrency=8)
    order, turns, most, now, seated = list[int](), list[str](), 0, 0, list[int]()

    @worker.task(unique_key="customer")
    async def charge(customer: int, amount: int) -> int:
        return amount

    @worker.task(order_by="account")
    async def book(account: str, number: int) -> None:
        await anyio.sleep(0.01 / number)  # the later ones would overtake the first
        order.append(number)

    @worker.task(fair_by="tenant")
    async def export(tenant: str) -> None:
        turns.append(tenant)

    @worker.task(limits=[ConcurrencyLimit(1), RateLimit(1000, per=1)])
    async def render() -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await anyio.lowlevel.checkpoint()
        now -= 1

    @worker.task(unique=True, max_tries=1, silent=True)
    async def sync(partition: int) -> None:
        seated.append(partition)
        await anyio.sleep(0.3)  # the others have their turn meanwhile

    @worker.task(name="mail")
    async def mail() -> str:
        return "sent"

    async with worker:
        first, second = await charge.enqueue(7, 10), await charge.enqueue(7, 20)
        assert second.duplicate_of == first.id
        line = [book.enqueue("a", number) for number in (1, 2, 3)]
        crowd = [export.enqueue(tenant) for tenant in ["large"] * 40 + ["small"]]
        rendered = [render.enqueue() for _ in range(6)]
        await worker.enqueue_many([*line, *crowd, *rendered])
        await worker.pause(task="mail")
        letter = await mail.enqueue()
        assert "paused" in [reason.why.value for reason in (await letter.explain()).reasons]
    async with running(worker):
        assert (await second.result(timeout=PATIENCE)).result == 10
        for task in [*line, *crowd, *rendered]:
            assert (await task.result(timeout=PATIENCE)).success
        assert order == [1, 2, 3]
        assert len(turns) == 41 and turns.index("small") < 32, "of each key eight stand in the queue"
        assert most == 1
        alone = [sync.enqueue(partition) for partition in (0, 1, 0, 1)]
        for task in alone:
            task.id = generated_id(task.jti, task.args[0])
        await worker.enqueue_many(alone)
        assert sum([(await task.result(timeout=PATIENCE)).success for task in alone]) == len(seated) == 1
        assert await letter.status() in (TaskStatus.QUEUED, TaskStatus.SCHEDULED)
        assert await worker.resume(task="mail")
        assert (await letter.result(timeout=PATIENCE)).result == "sent"


async def test_schedules_processes_queues_bursts_and_health_hold(request: pytest.FixtureRequest, topology: str) -> None:
    high, low = (shop(request, topology, name, priorities=["low", "high"], ageing=60) for name in ("high", "low"))
    fired, ran = list[int](), list[str]()
    with_process = (topology, request.node.callspec.params["anyio_backend"]) == ("cluster", "asyncio")  # it is slow

    for worker in (high, low):
        worker.task(name="note")(lambda worker=worker: ran.append(worker.queue_name))
    square = high.task(name="square", process=True)(process_tasks.square)

    @high.cron("* * * * * *", misfire="skip")
    async def often() -> None:
        fired.append(often.context.fire_time.second)  # type: ignore[union-attr]

    async with high, low:
        stored = await low.enqueue_by_name("note").start(schedule="0 0 1 1 *")
        assert [row.schedule_id for row in await low.schedules()] == [stored.id]
        assert await low.unschedule_by_id(stored.id) and not await low.unschedule_by_id(stored.id)
        async with anyio.create_task_group() as group:
            await group.start(high.run_async)
            await happens(lambda: high.health().ready)
            if with_process:
                assert (await (await square.enqueue(12)).result(timeout=PATIENCE)).result[0] == 144
            await happens(lambda: fired)
            await eventually(lambda: has_a_process(high))
            high.drain()
        assert len(fired) == len(set(fired))
        for worker in (high, low):
            await worker.enqueue_many([worker.enqueue_by_name("note").start(priority="high") for _ in range(6)])
            worker.burst = True
        with anyio.fail_after(PATIENCE):
            reports = await serve(high, low, concurrency=2)
        assert [report.processed >= 6 for report in reports] == [True, True]
        assert sorted(ran) == sorted([high.queue_name, low.queue_name] * 6)


async def test_a_test_drives_a_worker_there_and_breaks_its_connections(
    request: pytest.FixtureRequest, topology: str
) -> None:
    worker = shop(request, topology, "tested")

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    async with TestWorker(worker, server=request.getfixturevalue(f"real_{topology}").url) as queue:
        chain = await (double.enqueue(1) | double)
        assert await queue.drain() == {"completed": 2}
        assert (await chain.result()).result == 4
        queue.faults.lose_reply("enqueue")
        again = await double.enqueue(3)
        assert ("lost", "enqueue") in queue.faults.met
        queue.assert_enqueued(double.enqueue(3), times=1)
        assert await queue.drain() == {"completed": 1}
        assert (await again.result()).result == 6


async def has_a_process(worker: Worker[Any]) -> bool:
    """Whether ``secure-queue check`` would find it."""
    return any(process.role == WORKER for process in await worker.processes())
