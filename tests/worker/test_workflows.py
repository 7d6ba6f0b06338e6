"""Workflows through the public API: what runs, with what, and when; and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from secure_queue import ConfigurationError, Task, TaskFailed, TaskNotFound, TaskResult, TaskStatus, Worker
from secure_queue.partitions import generated_id
from secure_queue.redis.keys import QueueKeys
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE, eventually
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


class Flow:
    """A worker with tasks to tie together, and what has run."""

    def __init__(self, place: Place, **options: Any) -> None:
        self.worker: Worker[Any] = place.worker(**options)
        self.ran: list[Any] = []
        self.gates: dict[str, anyio.Event] = {}

        @self.worker.task(name="double", max_tries=1)
        async def double(number: int) -> int:
            self.ran.append(number)
            return 2 * number

        @self.worker.task(name="pair")
        async def pair(number: int) -> tuple[int, int]:
            return number, number + 1

        @self.worker.task(name="add")
        async def add(first: int, second: int, *, third: int = 0) -> int:
            return first + second + third

        @self.worker.task(name="total")
        async def total(numbers: list[Any], plus: int = 0) -> int:
            return sum(number for number in numbers if isinstance(number, int)) + plus

        @self.worker.task(name="fail", max_tries=1, silent=True)
        async def fail(*args: Any) -> int:
            raise ValueError("on purpose")

        @self.worker.task(name="note")
        async def note(word: str = "note") -> str:
            self.ran.append(word)
            return word

        @self.worker.task(name="unkept", ttl=0)
        async def unkept(number: int) -> int:
            self.ran.append(number)
            return 3 * number

        @self.worker.task(name="gate")
        async def gate(name: str) -> str:
            self.ran.append(name)
            await self.gates[name].wait()
            return name

        self.double, self.pair, self.add, self.total = double, pair, add, total
        self.fail, self.note, self.unkept, self._gate = fail, note, unkept, gate

    def gate(self, name: str) -> Task[str]:
        """A task that ends when its gate is opened."""
        self.gates[name] = anyio.Event()
        return self._gate.enqueue(name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self.worker):
            yield


@pytest.fixture(params=[1, 3], ids=["1 partition", "3 partitions"])
def flow(request: pytest.FixtureRequest, place: Place) -> Flow:
    return Flow(place, partitions=request.param)


async def end(task: Task[Any]) -> TaskResult[Any]:
    return await task.result(timeout=PATIENCE)


async def value(task: Task[Any]) -> Any:
    return (await end(task)).result


def problem(result: TaskResult[Any]) -> str:
    """How a task failed, without the ids."""
    assert isinstance(result.exception, TaskFailed)
    return result.exception.remote_type


# after=


async def test_a_task_runs_after_its_parents(flow: Flow) -> None:
    async with flow.running():
        first, second = flow.gate("first"), flow.gate("second")
        child = await flow.note.enqueue().start(after=[first, second])
        assert (first.existed, second.existed, child.existed) == (False, False, False)
        await eventually(lambda: _true(len(flow.ran) == 2))
        assert await child.status() is TaskStatus.SCHEDULED
        flow.gates["second"].set()
        await end(second)
        assert await child.status() is TaskStatus.SCHEDULED
        flow.gates["first"].set()
        assert await value(child) == "note"
    assert sorted(flow.ran[:2]) == ["first", "second"] and flow.ran[2:] == ["note"]


@pytest.mark.crossed
async def test_parents_that_have_ended_are_decided_when_the_child_comes(flow: Flow) -> None:
    async with flow.running():
        done, failed = await flow.double.enqueue(1), await flow.fail.enqueue()
        await end(done)
        await end(failed)
        after_done = await flow.note.enqueue().start(after=[done, done.id])
        after_failed = await flow.note.enqueue().start(after=[done, failed])
        cleanup = await flow.note.enqueue("cleanup").start(after=failed.id, on="failure").start(after=done, on="end")
        assert (await value(after_done), await value(cleanup)) == ("note", "cleanup")
        assert problem(await end(after_failed)) == "secure_queue.ParentFailed"
        assert await after_failed.status() is TaskStatus.FAILED
    assert sorted(map(str, flow.ran)) == ["1", "cleanup", "note"]


@pytest.mark.crossed
async def test_a_parent_that_is_long_gone_fails_the_child_or_lets_it_run(flow: Flow) -> None:
    async with flow.running():
        gone = await flow.unkept.enqueue(1)
        await eventually(lambda: _is(gone, TaskStatus.DONE))
        strict = await flow.note.enqueue("strict").start(after=gone)
        lenient = await flow.note.enqueue("lenient").start(after=gone, gone="run")
        never = await flow.note.enqueue("never").start(after="nobody", gone="run")
        with pytest.raises(TaskNotFound, match="gone='run'"):
            await flow.note.enqueue().start(after="nobody")
        assert problem(await end(strict)) == "secure_queue.ParentGone"
        assert (await value(lenient), await value(never)) == ("lenient", "never")
    assert "strict" not in flow.ran


async def test_a_result_that_is_not_kept_lives_as_long_as_somebody_waits_for_it(flow: Flow, place: Place) -> None:
    async with flow.running():
        early, late = flow.unkept.enqueue(7), flow.gate("late")
        child = await flow.worker.group([early, late]).then(flow.total)
        await eventually(lambda: _is(early, TaskStatus.DONE))
        flow.gates["late"].set()
        assert await value(child) == 21


async def test_a_task_that_depends_on_itself_is_refused(flow: Flow) -> None:
    async with flow.worker:
        first, second = flow.note.enqueue(), flow.note.enqueue()
        first.start(after=second)
        second.start(after=first)
        with pytest.raises(ConfigurationError, match="depends on itself"):
            await second
        with pytest.raises(ConfigurationError, match="after="):
            flow.note.enqueue().start(after=[1])  # type: ignore[list-item]
        with pytest.raises(ConfigurationError, match="schedule cannot"):
            await flow.note.enqueue().start(schedule="* * * * *", after=flow.note.enqueue())
        assert await flow.worker.queue_size() == 0


async def test_many_chains_in_one_call_are_as_many_workflows(flow: Flow) -> None:
    async with flow.running():
        chains = [flow.double.enqueue(number) | flow.double for number in range(20)]
        alone = flow.note.enqueue()
        await flow.worker.enqueue_many([*chains, alone])
        assert [await value(chain) for chain in chains] == [4 * number for number in range(20)]
        assert await value(alone) == "note"
        assert len((await flow.worker.workflow(chains[3].id)).tasks) == 2


@pytest.mark.crossed
async def test_a_delay_counts_for_a_task_with_parents_too(flow: Flow) -> None:
    async with flow.running():
        child = await flow.double.enqueue(1).then(flow.double).start(delay=1.0)
        result = await end(child)
        assert result.result == 4
        assert result.start_time - result.enqueue_time >= 990


async def test_what_waits_for_a_delayed_task_lives_as_long_after_it_as_any() -> None:
    worker = Worker[Any]("memory://delayed", signing_secret=SECRET, expire=60)
    double, total = worker.task(name="double")(_double), worker.task(name="total")(_total)
    async with TestWorker(worker, now=datetime(2030, 1, 1, tzinfo=UTC)) as queue:
        late = double.enqueue(1).start(delay=timedelta(days=2))
        chain = late | double | double
        group = worker.group([double.enqueue(5), late]) | total
        in_vain = await double.enqueue(7).start(after=chain, expire=1)
        await group
        await queue.drain()
        queue.clock.move(days=2)
        await queue.drain()
        await queue.advance(seconds=2)
        assert [await value(handle) for handle in (chain, group, in_vain)] == [8, 12, 14]


async def _double(number: int) -> int:
    return 2 * number


async def _total(numbers: list[int]) -> int:
    return sum(numbers)


async def test_a_parent_of_ones_own_id_that_was_taken_is_not_waited_for(flow: Flow) -> None:
    async with flow.worker:
        other = flow.note.enqueue()
        other.id = "taken"
        await other
        parent = flow.double.enqueue(1)
        parent.id = "taken"
        child = await (parent | flow.double)
        assert (parent.existed, child.existed) == (True, False)
        by_id = await flow.note.enqueue("by id").start(after="taken")
    async with flow.running():
        assert (await flow.worker.result_by_id("taken", PATIENCE)).fn_name == "note"
        assert await value(by_id) == "by id"
        assert problem(await end(child)) == "secure_queue.ParentGone"


# then, otherwise


async def test_a_chain_hands_its_values_on(flow: Flow) -> None:
    async with flow.running():
        chain = (flow.double.enqueue(2) | flow.pair).then(flow.add, third=100)
        own = flow.double.enqueue(1).then(flow.add.enqueue(10, third=100))
        await flow.worker.enqueue_many([chain, own])
        assert (await value(chain), await value(own)) == (109, 112)
        assert (await end(chain)).fn_name == "add"


async def test_what_follows_a_failure_fails_and_says_why(flow: Flow) -> None:
    async with flow.running():
        first = flow.fail.enqueue()
        second = first | flow.double
        third = await (second | flow.double)
        result = await end(third)
        assert (result.status, problem(result)) == (TaskStatus.FAILED, "secure_queue.ParentFailed")
        assert second.id in str(result.exception)
        assert [letter.task_id for letter in await flow.worker.dead_letters()].count(third.id) == 1
    assert flow.ran == []


async def test_a_fallback_runs_after_a_failure_with_the_same_arguments(flow: Flow) -> None:
    async with flow.running():
        plain = flow.fail.enqueue(4) ^ flow.double
        inner = (flow.double.enqueue(4) | flow.fail).otherwise(flow.double)
        own = flow.fail.enqueue(4) ^ flow.note.enqueue("own")
        await flow.worker.enqueue_many([plain, inner, own])
        assert [await value(task) for task in (plain, inner, own)] == [8, 16, "own"]


async def test_a_fallback_that_is_not_needed_has_the_result_of_what_it_stands_in_for(flow: Flow) -> None:
    async with flow.running():
        chain = await ((flow.double.enqueue(4) ^ flow.fail) | flow.double)
        assert await value(chain) == 16
    assert flow.ran == [4, 8]


async def test_an_inherited_result_is_as_hidden_as_it_was(flow: Flow, place: Place) -> None:
    @flow.worker.task(encrypt=True)
    async def secret() -> str:
        return "canary"

    async with flow.running():
        fallback = secret.enqueue() ^ flow.note.enqueue()
        fallback.id = generated_id(fallback.jti, 0)
        assert await value(await fallback) == "canary"
        sealed = await place.link.command("GET", place.keys.result(fallback.id.encode()))
        assert isinstance(sealed, bytes) and b"canary" not in sealed


async def test_what_is_there_for_a_failure_is_not_needed_after_a_success(flow: Flow) -> None:
    async with flow.running():
        cleanup = await flow.note.enqueue().start(after=flow.double.enqueue(1), on="failure")
        following = await flow.note.enqueue().start(after=cleanup)
        assert problem(await end(cleanup)) == "secure_queue.NotNeeded"
        assert problem(await end(following)) == "secure_queue.ParentAborted"
        assert await following.status() is TaskStatus.ABORTED
        assert await flow.worker.dead_letters() == []


@pytest.mark.crossed
async def test_dead_letters_of_a_workflow_are_run_again_from_the_parent_on(flow: Flow, place: Place) -> None:
    broken = [True]

    @flow.worker.task(max_tries=1, silent=True)
    async def repaired(number: int) -> int:
        if broken:
            raise ValueError("still broken")
        return number

    async with flow.running():
        parent = repaired.enqueue(5)
        child = await (parent | flow.double)
        assert problem(await end(child)) == "secure_queue.ParentFailed"
        broken.clear()
        await flow.worker.retry_dead_letter(parent.id)
        assert await value(parent) == 5
        await flow.worker.retry_dead_letter(child.id)
        assert await value(child) == 10


# Groups


async def test_a_callback_gets_the_results_of_its_group_in_their_order(flow: Flow) -> None:
    async with flow.running():
        group = flow.worker.group(flow.double.enqueue(number) for number in range(10))
        callback, empty = group.then(flow.total, plus=1), flow.worker.group(list[Task[int]]()) | flow.total
        await flow.worker.enqueue_many([callback, empty])
        assert (await value(callback), await value(empty)) == (91, 0)
        assert await group.results(PATIENCE) == [2 * number for number in range(10)]


async def test_a_group_may_have_failures(flow: Flow) -> None:
    async with flow.running():
        tasks = [flow.double.enqueue(1), flow.fail.enqueue(), flow.double.enqueue(2)]
        any_end = await flow.worker.group(tasks, on="end").then(flow.total)
        strict = await flow.worker.group(tasks).then(flow.total)
        assert await value(any_end) == 6
        assert problem(await end(strict)) == "secure_queue.ParentFailed"


async def test_map_and_gather_wait_for_all_results(flow: Flow) -> None:
    async with flow.running():
        assert await flow.worker.map(flow.double, range(5), timeout=PATIENCE) == [0, 2, 4, 6, 8]
        failing, known = flow.fail.enqueue(), await flow.note.enqueue()
        with pytest.raises(TaskFailed, match="ValueError"):
            await flow.worker.gather(failing, known, timeout=PATIENCE)
        found = await flow.worker.gather(failing, known, timeout=PATIENCE, return_exceptions=True)
        assert isinstance(found[0], TaskFailed) and found[1] == "note"
        with pytest.raises(ConfigurationError, match="group"):
            await flow.worker.gather(1)  # type: ignore[arg-type]
        with pytest.raises(TaskFailed, match="ValueError"):  # although the first of them has not ended
            await flow.worker.gather(flow.gate("never"), flow.fail.enqueue(), timeout=PATIENCE)


async def test_a_result_that_is_not_kept_is_there_for_who_gathers_it_and_waits_for_others_too(
    flow: Flow, place: Place
) -> None:
    @flow.worker.task(ttl=0)
    async def unkept() -> str:
        await flow.gates["unkept"].wait()
        return "unkept"

    async def is_awaited(task: Task[Any]) -> object:
        buckets = [QueueKeys(place.keys.queue, ("normal",), number).bucket(task.id.encode()) for number in range(3)]
        return any([await place.link.command("HEXISTS", bucket, b"!w" + task.id.encode()) for bucket in buckets])

    async def let_the_second_end_first() -> None:
        await eventually(lambda: is_awaited(second))
        flow.gates["unkept"].set()
        await eventually(lambda: _is(second, TaskStatus.DONE))
        flow.gates["first"].set()

    async with flow.running(), anyio.create_task_group() as group:
        flow.gates["unkept"] = anyio.Event()
        first, second = flow.gate("first"), unkept.enqueue()
        group.start_soon(let_the_second_end_first)
        assert await flow.worker.gather(first, second, timeout=PATIENCE) == ["first", "unkept"]


async def test_what_can_follow_nothing_is_refused(place: Place) -> None:
    flow = Flow(place)
    group, handle = flow.worker.group([flow.double.enqueue(1)]), flow.double.enqueue(2)
    for wrong in (7, print, group):
        for join in (group.then, handle.then, handle.otherwise):
            with pytest.raises(ConfigurationError, match="registered task and its arguments"):
                join(wrong)  # type: ignore[operator]
    for join in (group.then, handle.then):
        with pytest.raises(ConfigurationError, match="a handle that has its own"):
            join(flow.total.enqueue([1]), 5)  # type: ignore[operator]


# The whole


async def test_a_workflow_is_seen_and_stopped_as_a_whole(flow: Flow) -> None:
    async with flow.running():
        first, beside = flow.gate("first"), flow.gate("beside")
        last = flow.worker.group([first | flow.note, beside, flow.double.enqueue(1)]).then(flow.total)
        await last
        await eventually(lambda: _true(len(flow.ran) == 3))
        await eventually(lambda: _true_of(last, {"done", "running", "scheduled"}, flow))
        seen = await flow.worker.workflow(first.id)
        assert (seen.workflow_id, len(seen.tasks)) == (last.id, 5)
        assert [(task.fn_name, task.after) for task in seen.tasks if task.task_id == first.id] == [("gate", ())]
        assert len(seen.tasks[-1].after) == 3 and {on for _, on in seen.tasks[-1].after} == {"success"}
        stopped = await flow.worker.abort_workflow(last.id, PATIENCE)
        assert len(stopped) == 4 and stopped[-1] == last.id
        assert await last.status() is TaskStatus.ABORTED
        with pytest.raises(TaskNotFound, match="no workflow"):
            await flow.worker.workflow("nobody")
        alone = await flow.gate("alone")
        with pytest.raises(TaskNotFound, match="no workflow"):
            await flow.worker.abort_workflow(alone.id)
        flow.gates["alone"].set()


async def test_what_depends_on_an_aborted_task_is_aborted(flow: Flow) -> None:
    async with flow.worker:
        first = flow.note.enqueue().start(delay=600)
        last = await (first | flow.note | flow.note)
        assert await first.abort()
    async with flow.running():
        assert problem(await end(last)) == "secure_queue.ParentAborted"
    assert flow.ran == []


@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_one_end_that_decides_is_enough_while_other_parents_go_on(flow: Flow) -> None:
    async with flow.running():
        later, gate = await flow.note.enqueue().start(delay=600), flow.gate("open")
        after_failure = await flow.note.enqueue().start(after=[flow.fail.enqueue(), later])
        after_abort = await flow.note.enqueue().start(after=[gate, later])
        after_success = await flow.note.enqueue().start(after=[flow.double.enqueue(2), later], on="failure")
        patient = await flow.note.enqueue().start(after=[flow.fail.enqueue(), later], on="end")
        assert problem(await end(after_failure)) == "secure_queue.ParentFailed"
        assert problem(await end(after_success)) == "secure_queue.NotNeeded"
        await gate.abort()
        assert problem(await end(after_abort)) == "secure_queue.ParentAborted"
        assert await patient.status() is TaskStatus.SCHEDULED


@pytest.mark.parametrize("place", ["memory"], indirect=True)
async def test_what_depends_on_a_replaced_task_ends_at_once(flow: Flow) -> None:
    index = flow.worker.task(name="index", debounce=600, unique_key="document")(_nothing)
    async with flow.running():
        first, later = await index.enqueue(5), await flow.note.enqueue().start(delay=600)
        child = await flow.note.enqueue().start(after=[first, later])
        second = await index.enqueue(5)
        result = await end(child)
        assert problem(result) == "secure_queue.ParentGone" and first.id in str(result.exception)
        assert await second.status() is TaskStatus.SCHEDULED


async def test_a_burst_goes_on_to_the_end_of_its_workflows(flow: Flow) -> None:
    async with flow.worker:
        chain = flow.double.enqueue(1)
        for _ in range(9):
            chain = chain | flow.double
        await chain
        flow.worker.burst = True
        with anyio.fail_after(PATIENCE):
            await flow.worker.run_async()
        assert await value(chain) == 1024


async def test_nothing_stays_of_workflows_but_results_and_descriptions(flow: Flow, place: Place) -> None:
    async with flow.running():
        for _ in range(3):
            group = flow.worker.group(flow.double.enqueue(number) for number in range(5))
            task = await (group | flow.total)
            await value(task)

        async def tidy() -> bool:
            await flow.worker._engine._dependents.tidy()  # type: ignore[union-attr]
            keys = await place.link.command("KEYS", "*")
            assert isinstance(keys, list)
            kinds = {key.rpartition(b"}:")[2].partition(b":")[0] for key in keys if isinstance(key, bytes)}
            return not kinds & {b"tasks", b"handed", b"outbox", b"ready", b"due", b"leases"}

        await eventually(tidy)


@pytest.mark.parametrize("flow", [3], indirect=True)
async def test_dependents_are_told_in_whichever_partition_they_are(flow: Flow) -> None:
    async with flow.running():
        tasks = [flow.double.enqueue(1)]
        for partition in (1, 2, 0, 2):
            tasks.append(tasks[-1] | flow.double)
            tasks[-1].id = generated_id(tasks[-1].jti, partition)
        await tasks[-1]
        assert await value(tasks[-1]) == 32


async def _nothing(document: int) -> None: ...


async def _true(flag: object) -> object:
    return flag


async def _is(task: Task[Any], status: TaskStatus) -> bool:
    return await task.status() is status


async def _true_of(last: Task[Any], states: set[str], flow: Flow) -> bool:
    """Whether the tasks of a workflow are in exactly these states."""
    return {task.status.value for task in (await flow.worker.workflow(last.id)).tasks} == states
