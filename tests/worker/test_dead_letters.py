"""Tasks that failed for good can be listed, shown, put back and deleted."""

from __future__ import annotations

import pytest

from secure_queue import Rejected, TaskNotFound, TaskStatus
from secure_queue.cli.dlq import _do_all
from secure_queue.dead_letters import DeadLetter
from secure_queue.errors import DuplicateTask
from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


async def test_a_dead_letter_tells_its_story(place: Place) -> None:
    worker = place.worker(id="worker-1")

    @worker.task(name="fail", max_tries=2, retry_policy=AT_ONCE)
    async def fail() -> None:
        raise ValueError("broken")

    async with running(worker):
        task = await fail.enqueue()
        outcome = await task.result(timeout=PATIENCE)
        [letter] = await worker.dead_letters()
        assert isinstance(letter, DeadLetter)
        assert (letter.task_id, letter.fn_name, letter.tries) == (task.id, "fail", 2)
        assert (letter.error, letter.message, letter.worker_id) == ("ValueError", "broken", "worker-1")
        assert "in fail" in letter.traceback
        assert round(letter.died.timestamp() * 1000) == outcome.finish_time
        assert await worker.dead_letter(task.id) == letter


async def test_a_dead_letter_that_is_put_back_runs_with_all_its_tries(place: Place) -> None:
    worker = place.worker()
    broken = True

    @worker.task(max_tries=2, retry_policy=AT_ONCE)
    async def work(number: int) -> int:
        if broken:
            raise ValueError
        return number

    async with running(worker):
        task = await work.enqueue(7)
        assert not (await task.result(timeout=PATIENCE)).success
        broken = False
        await worker.retry_dead_letter(task.id)
        outcome = await worker.result_by_id(task.id, timeout=PATIENCE)
        assert (outcome.result, outcome.tries) == (7, 1)
        assert await worker.dead_letters() == []
        with pytest.raises(TaskNotFound):
            await worker.retry_dead_letter(task.id)


@pytest.mark.parametrize("policy", ["skip", "replace"])
async def test_a_dead_letter_stays_one_while_a_newer_call_of_its_key_waits(place: Place, policy: str) -> None:
    worker = place.worker(encrypt=True)
    broken = True

    @worker.task(unique_key="number", unique="queued", on_conflict=policy, max_tries=1)
    async def work(number: int) -> int:
        if broken:
            raise ValueError
        return number

    async with running(worker):
        letter = await work.enqueue(7)
        assert not (await letter.result(timeout=PATIENCE)).success
        broken = False
        newer = await work.enqueue(7).start(delay=3600)
        with pytest.raises(DuplicateTask, match=newer.id):
            await worker.retry_dead_letter(letter.id)
        count, [problem] = await _do_all(worker.retry_dead_letter, [letter.id])
        assert (count, newer.id in problem, await newer.status()) == (0, True, TaskStatus.SCHEDULED)
        other = await work.enqueue(8)
        assert (await other.result(timeout=PATIENCE)).result == 8
        assert await newer.abort()
        await worker.retry_dead_letter(letter.id)
        assert (await worker.result_by_id(letter.id, timeout=PATIENCE)).result == 7


async def test_an_old_task_laid_out_as_a_dead_letter_is_not_put_back(place: Place) -> None:
    worker, link, keys = place.worker(), place.link, place.keys
    runs: list[str] = []

    @worker.task(max_tries=1)
    async def pay(name: str) -> None:
        runs.append(name)
        if name == "dead":
            raise ValueError

    async with running(worker):
        paid, dead = await pay.enqueue("paid").start(delay=0.3), await pay.enqueue("dead")
        captured = await link.command("HGET", keys.bucket(paid.id.encode()), paid.id)
        await paid.result(timeout=PATIENCE)
        await dead.result(timeout=PATIENCE)
        success = await link.command("GET", keys.result(paid.id.encode()))
        other_death = await link.command("HGET", keys.bucket(dead.id.encode()), f"!d{dead.id}")
        for forged in (None, b"", success, other_death):
            fields = [paid.id, captured, *(() if forged is None else (f"!d{paid.id}", forged))]
            await link.command("HSET", keys.bucket(paid.id.encode()), *fields)  # type: ignore[arg-type]
            await link.command("ZADD", keys.dead, 1, paid.id)
            with pytest.raises(Rejected):
                await worker.retry_dead_letter(paid.id)
        await worker.retry_dead_letter(dead.id)
        await worker.result_by_id(dead.id, timeout=PATIENCE)
    assert sorted(runs) == ["dead", "dead", "paid"]


async def test_a_dead_letter_keeps_its_priority_where_the_worker_still_has_it(place: Place) -> None:
    worker = place.worker(priorities=["low", "high"])
    other = place.worker(priorities=["low"])

    @worker.task(max_tries=1)
    async def fail() -> None:
        raise ValueError

    async with running(worker):
        tasks = [await fail.enqueue().start(priority="high") for _ in range(2)]
        for task in tasks:
            await task.result(timeout=PATIENCE)
    async with worker, other:
        await worker.retry_dead_letter(tasks[0].id)
        await other.retry_dead_letter(tasks[1].id)
        assert (await worker.counts()).ready == {"high": 1, "low": 1}


async def test_a_deleted_dead_letter_is_gone(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1, ttl=0)
    async def fail() -> None:
        raise ValueError

    async with running(worker):
        task = await fail.enqueue()
        while await task.status() is not TaskStatus.FAILED:
            pass
        await worker.delete_dead_letter(task.id)
        for ask in (worker.dead_letter, worker.delete_dead_letter, worker.retry_dead_letter):
            with pytest.raises(TaskNotFound):
                await ask(task.id)


async def test_the_failure_can_be_asked_for_when_its_result_has_expired(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1, ttl=0.02)
    async def fail() -> None:
        raise ValueError("kept")

    async with running(worker):
        task = await fail.enqueue()
        while await place.link.command("EXISTS", place.keys.dead) == 0:
            pass
        while await place.link.command("EXISTS", place.keys.result(task.id.encode())):
            pass
        assert str((await task.result(timeout=PATIENCE)).exception) == "ValueError: kept"


async def test_pages_are_oldest_first(place: Place) -> None:
    worker = place.worker(concurrency=1)

    @worker.task(max_tries=1)
    async def fail() -> None:
        raise ValueError

    async with running(worker):
        tasks = [await fail.enqueue() for _ in range(5)]
        for task in tasks:
            await task.result(timeout=PATIENCE)
        listed = [await worker.dead_letters(offset=first, limit=2) for first in (0, 2, 4)]
        assert sorted(letter.task_id for page in listed for letter in page) == sorted(task.id for task in tasks)
        assert [len(page) for page in listed] == [2, 2, 1]
