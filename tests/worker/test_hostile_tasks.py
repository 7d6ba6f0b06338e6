"""Whatever a task does, only that task fails: the worker goes on and the next task runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest

from secure_queue import Retry, TaskContext, TaskFailed, TaskOutcome
from secure_queue.tasks import CallNext
from tests.servers import PATIENCE
from tests.worker.places import AT_ONCE, Place, running

pytestmark = pytest.mark.anyio


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Posing(Exception):
    @property
    def __class__(self) -> NoReturn:
        raise RuntimeError("no class")


class Root(BaseException):
    pass


def raiser(make: Callable[[], BaseException]) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise make()

    return act


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    return value


def endless() -> int:
    return endless()


LEFT = "SystemExit: 3"
MISUSE = "secure_queue.errors.ConfigurationError"

ACTS: dict[str, tuple[Callable[[], Any], str]] = {
    "SystemExit": (lambda: sys.exit(3), "SystemExit"),
    "CancelledError of asyncio": (raiser(asyncio.CancelledError), "asyncio.exceptions.CancelledError"),
    "GeneratorExit": (raiser(GeneratorExit), "GeneratorExit"),
    "a BaseException": (raiser(Root), "tests.worker.test_hostile_tasks.Root"),
    "an exception group": (raiser(lambda: BaseExceptionGroup("two", [Root(), ValueError()])), "BaseExceptionGroup"),
    "an exception that has no text": (raiser(Mute), "tests.worker.test_hostile_tasks.Mute"),
    "an exception that has no class": (raiser(Posing), "tests.worker.test_hostile_tasks.Posing"),
    "StopIteration": (raiser(StopIteration), "RuntimeError"),
    "a huge message": (raiser(lambda: ValueError("x" * 5_000_000)), "ValueError"),
    "binary in the message": (raiser(lambda: ValueError("\udcff\x00\n\x1b[2J")), "ValueError"),
    "an unserializable value": (object, "secure_queue.errors.UnserializableValue"),
    "a value that is too large": (lambda: b"x" * 3_000_000, "secure_queue.errors.UnserializableValue"),
    "a value that is too deep": (deep, "secure_queue.errors.UnserializableValue"),
    "an endless recursion": (endless, "RecursionError"),
    "a retry at a naive time": (raiser(lambda: Retry(schedule=datetime(2030, 1, 1))), MISUSE),
    "a retry after no number": (raiser(lambda: Retry(delay="soon")), MISUSE),  # type: ignore[arg-type]
    "a retry after nan": (raiser(lambda: Retry(delay=float("nan"))), MISUSE),
    "a retry after infinity": (raiser(lambda: Retry(delay=float("inf"))), MISUSE),
}


IN_A_THREAD = {"StopIteration": "StopIteration"}  # a coroutine cannot raise it


@pytest.mark.crossed
@pytest.mark.parametrize("way", ["async", "thread"])
@pytest.mark.parametrize("name", ACTS)
async def test_only_that_task_fails(place: Place, name: str, way: str) -> None:
    act, expected = ACTS[name]
    worker = place.worker(concurrency=1)

    if way == "async":

        @worker.task(retry_policy=AT_ONCE, max_tries=2)
        async def hostile() -> Any:
            return act()

    else:

        @worker.task(retry_policy=AT_ONCE, max_tries=2)
        def hostile() -> Any:
            return act()

    @worker.task
    async def good() -> int:
        return 1

    async with running(worker):
        outcome = await (await hostile.enqueue()).result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert outcome.exception.remote_type == (IN_A_THREAD.get(name, expected) if way == "thread" else expected)
        assert len(outcome.exception.message) < 5000
        assert (await (await good.enqueue()).result(timeout=PATIENCE)).result == 1


def grouped(call_next: CallNext) -> CallNext:
    async def call(*args: Any, **kwargs: Any) -> Any:
        found: list[Any] = []

        async def go_on() -> None:
            found.append(await call_next(*args, **kwargs))

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
        return found[0]

    return call


async def test_what_would_end_the_program_is_a_failure_also_inside_of_middleware(place: Place) -> None:
    worker = place.worker(concurrency=1)

    def interrupt() -> NoReturn:
        raise KeyboardInterrupt("no Ctrl-C")

    def leave() -> NoReturn:
        sys.exit(3)

    async def leave_the_loop() -> NoReturn:
        sys.exit(3)

    async def leave_a_stream() -> AsyncIterator[int]:
        yield 1
        sys.exit(3)

    told = {interrupt: "KeyboardInterrupt: no Ctrl-C"} | dict.fromkeys((leave, leave_the_loop, leave_a_stream), LEFT)
    ways = {"through": lambda call_next: call_next, "grouped": grouped}
    kinds = [
        (failure, worker.task(name=f"{function.__name__} {way}", retry_policy=AT_ONCE, middleware=middleware)(function))
        for function, failure in told.items()
        for way, middleware in ways.items()
    ]
    async with running(worker):
        for failure, kind in kinds:
            outcome = await (await kind.enqueue()).result(timeout=PATIENCE)
            assert (str(outcome.exception), outcome.tries) == (failure, 1), kind.fn_name  # as without middleware


async def test_middleware_decides_about_what_would_end_the_program(place: Place) -> None:
    worker = place.worker(concurrency=1)
    seen: list[TaskOutcome] = []

    @worker.after_process
    def forgive(context: TaskContext, outcome: TaskOutcome) -> TaskOutcome:
        seen.append(outcome)
        return TaskOutcome("stayed")

    @worker.task
    def leave() -> NoReturn:
        sys.exit(3)

    async with running(worker):
        assert (await (await leave.enqueue()).result(timeout=PATIENCE)).result == "stayed"
    assert [(str(outcome.exception), outcome.interrupted) for outcome in seen] == [(LEFT, False)]


@pytest.mark.parametrize("policy", [lambda tries: 1 / 0, lambda tries: float("nan"), lambda tries: "soon", lambda: 0])
async def test_a_retry_policy_that_makes_no_sense_fails_the_task(place: Place, policy: Any) -> None:
    worker = place.worker(concurrency=1)

    @worker.task(retry_policy=policy)
    async def fail() -> None:
        raise ValueError

    @worker.task(retry_policy=policy, retry_timeouts=True, timeout=0.01)
    async def hang() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        assert not (await (await fail.enqueue()).result(timeout=PATIENCE)).success
        assert not (await (await hang.enqueue()).result(timeout=PATIENCE)).success


async def test_arguments_that_do_not_fit_the_function_fail_the_task(place: Place) -> None:
    worker = place.worker()

    @worker.task(max_tries=1)
    async def one(a: int) -> int:
        return a

    async with running(worker):
        outcome = await (await one.enqueue(1, 2, b=3)).result(timeout=PATIENCE)  # type: ignore[call-arg]
        assert str(outcome.exception).startswith("TypeError")


async def test_a_task_that_swallows_its_cancellation_ends_as_it_wants(place: Place) -> None:
    worker = place.worker(concurrency=1)

    @worker.task(timeout=0.05)
    async def survivor() -> str:
        try:
            await anyio.sleep_forever()
        except BaseException:
            return "still here"

    @worker.task
    async def good() -> int:
        return 1

    async with running(worker):
        assert (await (await survivor.enqueue()).result(timeout=PATIENCE)).result == "still here"
        assert (await (await good.enqueue()).result(timeout=PATIENCE)).result == 1


async def test_a_task_that_raises_while_it_is_interrupted_does_not_change_the_reason(place: Place) -> None:
    worker = place.worker(concurrency=1)

    @worker.task(timeout=0.05, max_tries=1)
    async def angry() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("instead")

    async with running(worker):
        assert "exceeded its timeout" in str((await (await angry.enqueue()).result(timeout=PATIENCE)).exception)


async def test_a_task_that_leaves_a_cancelled_scope_behind_harms_nobody(place: Place) -> None:
    worker = place.worker(concurrency=1)

    @worker.task
    async def scoped() -> int:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        return 1

    async with running(worker):
        for _ in range(3):
            assert (await (await scoped.enqueue()).result(timeout=PATIENCE)).result == 1


async def test_more_hostile_tasks_than_seats_do_not_wear_the_worker_out(place: Place) -> None:
    worker = place.worker(concurrency=2)

    @worker.task(max_tries=1)
    async def hostile(number: int) -> None:
        raise (SystemExit, asyncio.CancelledError, Root, Mute)[number % 4]

    async with running(worker):
        tasks = [hostile.enqueue(number) for number in range(20)]
        await worker.enqueue_many(tasks)
        for task in tasks:
            assert not (await task.result(timeout=PATIENCE)).success


def unreadable(text: str) -> Any:
    if "hostile" in text:
        raise asyncio.CancelledError
    return eval(text)


async def unreadable_async(text: str) -> Any:
    return unreadable(text)


async def written(value: Any) -> str:
    return repr(value)


@pytest.mark.parametrize(("dumps", "loads"), [(repr, unreadable), (written, unreadable_async)])
async def test_a_deserializer_that_makes_up_a_cancellation_costs_its_own_task_only(
    place: Place, dumps: Any, loads: Any
) -> None:
    worker = place.worker(concurrency=1, serializer=dumps, deserializer=loads)

    @worker.task
    async def echo(value: str) -> str:
        return value

    async with running(worker):
        hostile = await echo.enqueue("hostile")
        assert (await (await echo.enqueue("good")).result(timeout=PATIENCE)).result == "good"
        assert await place.quarantine() == {hostile.id.encode(): "undeserializable"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_cancelled_itself_does_not_end_the_worker_at_a_later_timeout(place: Place) -> None:
    worker = place.worker(concurrency=1)

    @worker.task(max_tries=1)
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep(5)

    @worker.task(max_tries=1)
    async def cancels_itself_unseen() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    @worker.task(timeout=0.05, max_tries=1)
    async def slow() -> None:
        await anyio.sleep_forever()

    async with running(worker):
        for culprit in (cancels_itself, cancels_itself_unseen):
            await culprit.enqueue()
            outcome = await (await slow.enqueue()).result(timeout=PATIENCE)
            assert "exceeded its timeout" in str(outcome.exception)


async def test_a_value_that_cannot_be_serialized_is_not_computed_again(place: Place) -> None:
    worker, runs = place.worker(), list[int]()

    @worker.task(max_tries=5)
    async def unserializable() -> object:
        runs.append(1)
        return object()

    async with running(worker):
        assert not (await (await unserializable.enqueue()).result(timeout=PATIENCE)).success
    assert runs == [1]
