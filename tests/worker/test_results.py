"""A task is enqueued, runs, and its caller gets what it returned or why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import anyio
import anyio.lowlevel
import pytest

from secure_queue import (
    ConfigurationError,
    ResultTimeout,
    ResultUnavailable,
    SecureQueueError,
    TaskFailed,
    TaskNotFound,
    TaskStatus,
    UnserializableValue,
)
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import MsgpackSerializer
from tests.servers import EVERY_LOOP, PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


class Unlike(Exception):
    """Known to the caller."""


@pytest.mark.parametrize("anyio_backend", EVERY_LOOP)
async def test_the_caller_gets_the_result(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def add(a: int, *, b: int = 0) -> int:
        return a + b

    async with running(worker):
        task = await add.enqueue(1, b=2)
        outcome = await task.result(timeout=PATIENCE)
        assert (outcome.success, outcome.result, outcome.tries, outcome.status) == (True, 3, 1, TaskStatus.DONE)
        assert (outcome.task_id, outcome.fn_name, outcome.worker_id) == (task.id, add.fn_name, worker.id)
        assert outcome.enqueue_time <= outcome.start_time <= outcome.finish_time
        assert (await worker.result_by_id(task.id)).result == 3
        with pytest.raises(SecureQueueError):
            _ = outcome.exception


async def test_a_sync_function_runs_in_a_thread(place: Place) -> None:
    worker = place.worker()

    @worker.task
    def tell() -> tuple[int, str]:
        import threading

        return threading.get_ident(), tell.context.task_id

    async with running(worker):
        task = await tell.enqueue()
        outcome = await task.result(timeout=PATIENCE)
        import threading

        thread, task_id = outcome.result
        assert thread != threading.get_ident()
        assert task_id == task.id


async def test_the_plain_function_can_still_be_called(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def double(x: int) -> int:
        return 2 * x

    @worker.task
    def triple(x: int) -> int:
        return 3 * x

    assert (await double(2), triple(2)) == (4, 6)


async def test_a_failure_arrives_as_type_message_and_traceback(place: Place) -> None:
    worker = place.worker(known_errors=[Unlike], redact_failures=False)

    @worker.task(max_tries=1)
    async def fail(kind: str) -> None:
        raise {"value": ValueError, "unlike": Unlike}[kind](f"no {kind}")

    async with running(worker):
        outcome = await (await fail.enqueue("value")).result(timeout=PATIENCE)
        assert (outcome.success, outcome.status) == (False, TaskStatus.FAILED)
        error = outcome.exception
        assert isinstance(error, TaskFailed)
        assert (error.remote_type, error.message) == ("ValueError", "no value")
        assert "in fail" in error.traceback
        with pytest.raises(SecureQueueError):
            _ = outcome.result
        known = await (await fail.enqueue("unlike")).result(timeout=PATIENCE)
        assert isinstance(known.exception, Unlike) and str(known.exception) == "no unlike"


async def test_waiting_ends_at_its_timeout_and_the_task_goes_on(place: Place) -> None:
    worker = place.worker()
    proceed = anyio.Event()

    @worker.task
    async def wait() -> str:
        await proceed.wait()
        return "late"

    async with running(worker):
        task = await wait.enqueue()
        with pytest.raises(ResultTimeout):
            await task.result(timeout=0.05)
        with pytest.raises(TimeoutError):
            await task.result(timeout=timedelta(milliseconds=50))
        proceed.set()
        assert (await task.result(timeout=PATIENCE)).result == "late"


async def test_many_wait_for_one_result(place: Place) -> None:
    worker = place.worker()
    proceed = anyio.Event()
    got: list[int] = []

    @worker.task
    async def wait() -> int:
        await proceed.wait()
        return 7

    async with running(worker):
        task = await wait.enqueue()

        async def ask() -> None:
            got.append((await task.result(timeout=PATIENCE)).result)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            proceed.set()
    assert got == [7] * 20


async def test_another_process_can_ask_for_the_result(place: Place) -> None:
    worker, other = place.worker(), place.worker()

    @worker.task
    async def one() -> int:
        return 1

    async with running(worker), other:
        task = await one.enqueue()
        assert (await other.result_by_id(task.id, timeout=PATIENCE)).result == 1


async def test_a_result_that_is_not_kept_is_unavailable_afterwards(place: Place) -> None:
    worker = place.worker()

    @worker.task(ttl=0)
    async def noop() -> None: ...

    async with running(worker):
        task = await noop.enqueue()
        while await task.status() is not TaskStatus.DONE:
            await anyio.sleep(0.01)
        with pytest.raises(ResultUnavailable):
            await task.result(timeout=PATIENCE)


async def test_who_waits_for_a_result_that_is_not_kept_gets_it(place: Place) -> None:
    worker = place.worker()
    proceed = anyio.Event()

    @worker.task(ttl=0)
    async def wait() -> str:
        await proceed.wait()
        return "pushed"

    async with running(worker):
        task = await wait.enqueue()
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                assert (await task.result(timeout=PATIENCE)).result == "pushed"

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            while not await place.link.command("HEXISTS", place.keys.bucket(task.id.encode()), f"!w{task.id}"):
                await anyio.sleep(0.01)
            proceed.set()


async def test_an_expired_result_and_an_unknown_id_are_not_found(place: Place) -> None:
    worker = place.worker()

    @worker.task(ttl=timedelta(milliseconds=20))
    async def noop() -> None: ...

    async with running(worker):
        task = await noop.enqueue()
        while await task.status() is not TaskStatus.NOT_FOUND:
            await anyio.sleep(0.01)
        with pytest.raises(TaskNotFound):
            await task.result(timeout=PATIENCE)
        with pytest.raises(TaskNotFound):
            await worker.result_by_id("unknown", timeout=PATIENCE)
        with pytest.raises(ConfigurationError):
            await worker.result_by_id("not an id\n")


@pytest.mark.parametrize("ttl", [None, timedelta(days=36_000)])
async def test_a_result_may_be_kept_for_ever_or_very_long(place: Place, ttl: timedelta | None) -> None:
    worker = place.worker()

    @worker.task(ttl=ttl)
    async def one() -> int:
        return 1

    @worker.task(ttl=ttl, max_tries=1)
    async def fail() -> int:
        raise ValueError

    async with running(worker):
        task, failed = await one.enqueue(), await fail.enqueue()
        assert (await task.result(timeout=PATIENCE)).result == 1
        assert not (await failed.result(timeout=PATIENCE)).success
        left = await place.link.command("PTTL", place.keys.result(task.id.encode()))
        assert isinstance(left, int)
        assert left == -1 if ttl is None else left > 90 * 365 * 86_400_000


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: tuple[int, ...]


def typed_values() -> list[Any]:
    return [
        None, True, 1, 2**70, 1.5, "text", b"bytes", [1, [2]], (1, (2,)), {1, 2}, frozenset({3}), {"k": (1,)}, {1: 2},
        UUID(int=7), Decimal("1.10"), date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), timedelta(seconds=3),
        Colour.RED, Point(1, (2, 3)),
    ]  # fmt: skip


async def test_typed_values_make_the_round_trip(place: Place) -> None:
    serializer = MsgpackSerializer()
    serializer.register(Colour)
    serializer.register(Point)
    worker = place.worker(serializer=serializer)

    @worker.task
    async def echo(value: Any) -> Any:
        return value, type(value).__name__

    async with running(worker):
        tasks = [echo.enqueue(value) for value in typed_values()]
        await worker.enqueue_many(tasks)
        for value, task in zip(typed_values(), tasks, strict=True):
            assert (await task.result(timeout=PATIENCE)).result == (value, type(value).__name__)


async def async_dumps(value: Any) -> str:
    await anyio.lowlevel.checkpoint()
    return repr(value)


async def async_loads(text: str) -> Any:
    await anyio.lowlevel.checkpoint()
    return eval(text)


def tuples_only(text: str) -> Any:
    args, kwargs = eval(text) if text.startswith("[[") else (eval(text), None)
    return (tuple(args), kwargs) if kwargs is not None else args


SERIALIZERS: dict[str, dict[str, Any]] = {
    "msgpack": {"serializer": "msgpack"},
    "json": {"serializer": "json"},
    "callables": {"serializer": repr, "deserializer": eval},
    "async callables": {"serializer": async_dumps, "deserializer": async_loads},
    "callables that make tuples": {"serializer": repr, "deserializer": tuples_only},
    "pickle": {"serializer": RestrictedPickle(allow=[Point])},
}


@pytest.mark.parametrize("name", SERIALIZERS)
async def test_every_serializer_carries_arguments_results_and_failures(place: Place, name: str) -> None:
    worker = place.worker(**SERIALIZERS[name])

    @worker.task(max_tries=1)
    async def echo(value: Any, *, fail: bool = False) -> Any:
        if fail:
            raise ValueError("on request")
        return value

    async with running(worker):
        value = {"a": [1, None, "ü"]}
        task = await echo.enqueue(value)
        assert (await task.result(timeout=PATIENCE)).result == value
        failed = await (await echo.enqueue(1, fail=True)).result(timeout=PATIENCE)
        assert str(failed.exception) == "ValueError: on request"
        later = await echo.enqueue(value).start(delay=600)
        info = await later.info()
        assert info is not None and (info.args, info.kwargs) == ((value,), {})


async def test_pickle_carries_allowed_classes_only(place: Place) -> None:
    worker = place.worker(serializer=RestrictedPickle(allow=[Point]))

    @worker.task
    async def echo(value: Any) -> Any:
        return value

    async with running(worker):
        point = Point(1, (2,))
        assert (await (await echo.enqueue(point)).result(timeout=PATIENCE)).result == point
        with pytest.raises(UnserializableValue):
            await echo.enqueue(Colour.RED)


async def test_arguments_that_cannot_be_serialized_are_refused_before_anything_is_sent(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def echo(value: object) -> None: ...

    async with worker:
        with pytest.raises(UnserializableValue):
            await worker.enqueue_many([echo.enqueue(1), echo.enqueue(object())])
        with pytest.raises(UnserializableValue, match="too large"):
            await echo.enqueue(b"x" * (1 << 20))
        assert await worker.queue_size() == 0
