"""Failures are tried again as the task says, and every run counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from secure_queue import Retry, RetryPolicy, TaskFailed, TaskResult
from secure_queue.clock import now_ms
from secure_queue.execution import settling
from tests.servers import PATIENCE, eventually
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio

TINY = RetryPolicy(base=0.01, jitter=0)


def once(test: Callable[..., Any]) -> Callable[..., Any]:
    """On one loop and one server only: real time passes in this test, and it is the same everywhere."""
    return pytest.mark.parametrize("place", ["server"], indirect=True)(
        pytest.mark.parametrize("anyio_backend", ["asyncio"])(test)
    )


def type_of(outcome: TaskResult[Any]) -> str:
    assert isinstance(outcome.exception, TaskFailed)
    return outcome.exception.remote_type


@once
@pytest.mark.parametrize("policy", [TINY, AT_ONCE, lambda tries: timedelta(milliseconds=tries)])
async def test_a_failure_is_tried_again_after_the_policy(place: Place, policy: Callable[[int], float]) -> None:
    worker = place.worker()
    seen: list[int] = []

    @worker.task(max_tries=3, retry_policy=policy)
    async def flaky() -> str:
        seen.append(flaky.context.tries)
        if len(seen) < 3:
            raise ConnectionError
        return "at last"

    async with running(worker):
        outcome = await (await flaky.enqueue()).result(timeout=PATIENCE)
        assert (outcome.result, outcome.tries, seen) == ("at last", 3, [1, 2, 3])


@once
async def test_a_backoff_is_waited_for(place: Place) -> None:
    worker = place.worker()
    starts: list[float] = []

    @worker.task(max_tries=2, retry_policy=lambda tries: 0.3)
    async def fail() -> None:
        starts.append(anyio.current_time())
        raise ValueError

    async with running(worker):
        await (await fail.enqueue()).result(timeout=PATIENCE)
    assert starts[1] - starts[0] >= 0.29


@pytest.mark.parametrize("max_tries", [1, 3])
async def test_max_tries_counts_all_tries(place: Place, max_tries: int) -> None:
    worker = place.worker()
    runs: list[int] = []

    @worker.task(max_tries=max_tries, retry_policy=AT_ONCE)
    async def fail() -> None:
        runs.append(1)
        raise ValueError

    async with running(worker):
        outcome = await (await fail.enqueue()).result(timeout=PATIENCE)
        assert (len(runs), outcome.tries, type_of(outcome)) == (max_tries, max_tries, "ValueError")


async def test_without_a_limit_a_task_is_tried_until_it_succeeds(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=None, retry_policy=AT_ONCE)
    async def stubborn() -> int:
        if stubborn.context.tries < 12:
            raise ValueError
        return stubborn.context.tries

    async with running(worker):
        assert (await (await stubborn.enqueue()).result(timeout=PATIENCE)).result == 12


@pytest.mark.crossed
async def test_a_task_can_ask_for_another_run(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=4, retry_policy=AT_ONCE)
    async def ask() -> int:
        match ask.context.tries:
            case 1:
                raise Retry
            case 2:
                raise Retry("soon", delay=0.01)
            case 3:
                raise Retry(schedule=datetime.now(UTC) + timedelta(milliseconds=10))
        return ask.context.tries

    async with running(worker):
        assert (await (await ask.enqueue()).result(timeout=PATIENCE)).result == 4


async def test_asking_for_another_run_uses_a_try(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=2)
    async def ask() -> None:
        raise Retry(delay=0)

    async with running(worker):
        outcome = await (await ask.enqueue()).result(timeout=PATIENCE)
        assert (outcome.tries, type_of(outcome)) == (2, "secure_queue.errors.Retry")


async def test_only_the_listed_errors_are_tried_again(place: Place) -> None:
    worker = place.worker()

    @worker.task(retry_policy=AT_ONCE, retry_on=[OSError], no_retry_on=[FileNotFoundError])
    async def fail(name: str) -> None:
        raise {"os": OSError, "missing": FileNotFoundError, "value": ValueError}[name]

    async with running(worker):
        tries = {
            name: (await (await fail.enqueue(name)).result(timeout=PATIENCE)).tries
            for name in ("os", "missing", "value")
        }
    assert tries == {"os": 3, "missing": 1, "value": 1}


async def test_a_retry_is_asked_for_even_by_an_error_that_is_not_listed(place: Place) -> None:
    worker = place.worker()

    @worker.task(retry_on=[OSError])
    async def ask() -> int:
        if ask.context.tries == 1:
            raise Retry(delay=0)
        return 1

    async with running(worker):
        assert (await (await ask.enqueue()).result(timeout=PATIENCE)).tries == 2


async def test_a_run_over_its_timeout_fails(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=0.05)
    async def hang() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await hang.enqueue()).result(timeout=PATIENCE)
        assert (outcome.tries, type_of(outcome)) == (1, "TimeoutError")


async def test_timeouts_are_tried_again_where_the_task_says_so(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=timedelta(seconds=0.05), retry_timeouts=True, max_tries=3, retry_policy=AT_ONCE)
    async def hang_twice() -> int:
        if hang_twice.context.tries < 3:
            await anyio.sleep_forever()
        return hang_twice.context.tries

    async with running(worker):
        assert (await (await hang_twice.enqueue()).result(timeout=PATIENCE)).result == 3


async def test_a_thread_over_its_timeout_is_left_behind_and_its_seat_goes_on(place: Place) -> None:
    import threading

    worker = place.worker(concurrency=1, sync_concurrency=2)
    release = threading.Event()

    @worker.task(timeout=0.05)
    def hang() -> None:
        release.wait(PATIENCE)

    @worker.task
    async def good() -> int:
        return 1

    async with running(worker):
        assert type_of(await (await hang.enqueue()).result(timeout=PATIENCE)) == "TimeoutError"
        assert (await (await good.enqueue()).result(timeout=PATIENCE)).result == 1
        release.set()


async def test_a_timeout_that_the_task_raised_itself_is_an_ordinary_failure(place: Place) -> None:
    worker = place.worker()

    @worker.task(timeout=600, max_tries=2, retry_policy=AT_ONCE)
    async def give_up() -> None:
        with anyio.fail_after(0.01):
            await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await give_up.enqueue()).result(timeout=PATIENCE)
        assert (outcome.tries, type_of(outcome)) == (2, "TimeoutError")


@once
async def test_a_seat_serves_tasks_with_and_without_a_timeout_in_turn(place: Place) -> None:
    worker = place.worker(concurrency=1)

    @worker.task(timeout=0.2)
    async def quick() -> int:
        return 1

    @worker.task
    async def slow() -> int:
        await anyio.sleep(0.3)
        return 2

    async with running(worker):
        tasks = [quick.enqueue(), slow.enqueue(), quick.enqueue()]
        await worker.enqueue_many(tasks)
        assert [(await task.result(timeout=PATIENCE)).result for task in tasks] == [1, 2, 1]


@once
async def test_a_task_that_was_not_started_in_time_expires(place: Place) -> None:
    worker = place.worker()
    runs: list[str] = []

    @worker.task(expire=1)
    async def urgent(name: str) -> None:
        runs.append(name)

    async with worker:
        late = await urgent.enqueue("late")
        await anyio.sleep(1.1)  # the time after which it has expired, not a time for something to happen
    async with running(worker):
        assert type_of(await late.result(timeout=PATIENCE)) == "secure_queue.TaskExpired"
        fresh = await urgent.enqueue("fresh")
        assert (await fresh.result(timeout=PATIENCE)).success
    assert runs == ["fresh"]


@once
async def test_no_try_starts_after_the_task_has_expired_and_the_failure_is_that_of_the_last_one(place: Place) -> None:
    worker = place.worker()

    @worker.task(expire=3600)
    async def urgent(pause: int) -> int:
        if urgent.context.tries == 1:
            raise Retry(delay=pause)
        return 1

    async with running(worker):
        in_time, too_late = await urgent.enqueue(0), await urgent.enqueue(3601)
        assert (await in_time.result(timeout=PATIENCE)).result == 1
        outcome = await too_late.result(timeout=PATIENCE)
        assert (outcome.tries, type_of(outcome)) == (1, "secure_queue.errors.Retry")


@once
async def test_an_unknown_function_is_handed_on_and_in_the_end_a_dead_letter(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "UNKNOWN_FOR_MS", 1500)
    producer, worker = place.worker(), place.worker()

    @producer.task
    async def new_in_this_release() -> None: ...

    @worker.task
    async def good() -> int:
        return 1

    async with producer, running(worker):
        task = await new_in_this_release.enqueue()
        assert (await (await good.enqueue()).result(timeout=PATIENCE)).result == 1
        outcome = await task.result(timeout=PATIENCE)
        assert (outcome.tries, type_of(outcome)) == (1, "secure_queue.UnknownTask")
        [letter] = await worker.dead_letters()
        assert letter.task_id == task.id
        assert (await (await good.enqueue()).result(timeout=PATIENCE)).result == 1


@once
async def test_an_unknown_function_of_an_old_backlog_is_handed_on_as_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "UNKNOWN_FOR_MS", 500)
    producer, worker = place.worker(), place.worker()

    @producer.task
    async def new_in_this_release() -> None: ...

    async with producer:
        task = await new_in_this_release.enqueue()
        enqueued_ms = now_ms()

        async def is_old() -> bool:
            return now_ms() - enqueued_ms > 500

        await eventually(is_old)
        async with running(worker):
            assert type_of(await task.result(timeout=PATIENCE)) == "secure_queue.UnknownTask"
            assert worker.counters["handed_back"] >= 1
