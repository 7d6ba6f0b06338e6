"""Calls that replace each other, stored schedules, ageing and the abort of a workflow, behind Sentinel and in a Cluster."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from secure_queue import TaskNotFound, TaskStatus
from secure_queue.partitions import generated_id
from tests.ha.test_control import shop
from tests.servers import PATIENCE, happens
from tests.worker.places import running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("topology", ["sentinels", "cluster"])]


async def test_of_calls_of_one_key_the_right_one_runs(request: pytest.FixtureRequest, topology: str) -> None:
    worker, ran = shop(request, topology, "calls"), list[tuple[str, int]]()

    @worker.task(debounce=0.3, unique_key="document")
    async def index(document: int, version: int) -> None:
        ran.append(("index", version))

    @worker.task(throttle=600)
    async def refresh(number: int) -> int:
        ran.append(("refresh", number))
        return number

    @worker.task(unique="queued", unique_key="customer", on_conflict="replace")
    async def charge(customer: int, amount: int) -> int:
        ran.append(("charge", amount))
        return amount

    async with worker:
        replaced, charged = await charge.enqueue(7, 10), await charge.enqueue(7, 20)
    async with running(worker):
        assert (await charged.result(timeout=PATIENCE)).result == 20
        with pytest.raises(TaskNotFound):
            await replaced.result(timeout=PATIENCE)
        indexed = [await index.enqueue(1, version) for version in range(3)]
        refreshed = [await refresh.enqueue(number) for number in range(3)]
        assert [(await task.result(timeout=PATIENCE)).result for task in refreshed] == [0, 0, 0]
        assert (await refresh.enqueue(3)).duplicate_of == refreshed[0].id
        assert (await indexed[-1].result(timeout=PATIENCE)).success
    assert sorted(ran) == [("charge", 20), ("index", 2), ("refresh", 0)]


@pytest.mark.crossed
async def test_a_stored_schedule_fires_until_it_is_removed_and_age_counts(
    request: pytest.FixtureRequest, topology: str
) -> None:
    options: dict[str, Any] = {"priorities": ["low", "high"], "ageing": 0.2, "concurrency": 1, "prefetch": 0}
    worker, ran = shop(request, topology, "times", partitions=1, **options), list[str]()

    @worker.task
    async def note(what: str) -> None:
        ran.append(what)

    async with worker:
        old = await note.enqueue("old and low").start(priority="low")
        await anyio.sleep(0.3)  # age is what is tested
        young = [await note.enqueue("young and high").start(priority="high") for _ in range(3)]
        stored = await note.enqueue("fired").start(schedule="* * * * * *")
    async with running(worker):
        for task in (old, *young):
            assert (await task.result(timeout=PATIENCE)).success
        await happens(lambda: "fired" in ran)
        assert await worker.unschedule_by_id(stored.id) is True
        assert await worker.schedules() == []
    assert [what for what in ran if what != "fired"] == ["old and low", *["young and high"] * 3]


async def test_a_workflow_is_aborted_in_all_its_partitions(request: pytest.FixtureRequest, topology: str) -> None:
    worker, began, ran = shop(request, topology, "flows"), list[anyio.Event](), list[int]()

    @worker.task
    async def gate(number: int) -> int:
        event = anyio.Event()
        began.append(event)
        await event.wait()
        return number

    @worker.task
    async def total(numbers: list[int]) -> int:
        ran.append(sum(numbers))
        return sum(numbers)

    async with running(worker):
        members = [gate.enqueue(number) for number in range(4)]
        for task in members:
            task.id = generated_id(task.jti, task.args[0] % 2)
        last = await worker.group(members).then(total)
        await happens(lambda: len(began) == 4)
        stopped = await worker.abort_workflow(last.id, PATIENCE)
        assert set(stopped) == {last.id, *(task.id for task in members)}
        for task in (*members, last):
            assert await task.status() is TaskStatus.ABORTED
    assert ran == []
