"""Options that make no sense are refused where they are written, with what to write instead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import pytest

from secure_queue import ConfigurationError, ResultTimeout, TaskContext, TaskStatus, Worker
from secure_queue.testing import TestWorker

worker: Worker[Any] = Worker("memory://")


@worker.task
async def work() -> None: ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_tries": "3"}, "whole number from 1 on"),
        ({"max_tries": True}, "whole number from 1 on"),
        ({"max_tries": 2.5}, "whole number from 1 on"),
        ({"max_tries": 10_000}, "up to 9,999"),
        ({"retry_policy": 7}, "a function from the number of tries"),
        ({"retry_policy": "exponential"}, "a function from the number of tries"),
        ({"encrypt": "no"}, "encrypt= is True or False"),
        ({"silent": 1}, "silent= is True or False"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_of_a_task(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        worker.task(name="wrong", **options)(print)


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lifespan": 7}, "a function that returns an async context manager"),
        ({"anyio_backend": "bogus"}, "'asyncio' or 'trio'"),
        ({"anyio_kwargs": [1]}, "anyio_kwargs= is a mapping"),
        ({"redis_kwargs": "password"}, "redis_kwargs= is a mapping"),
        ({"require_encryption": "no"}, "require_encryption= is True or False"),
        ({"redact_failures": 0}, "redact_failures= is True or False"),
        ({"require_tls": "no"}, "require_tls= is True or False"),
        ({"prefetch": "all"}, "prefetch must be 0"),
        ({"priorities": 3}, "lowest first"),
        ({"routers": 7}, "routers= is a list"),
        ({"tasks": "app.tasks.send"}, "tasks= is a list"),
        ({"priorities": "low"}, r"for example \['low', 'high'\]"),
        ({"sync_concurrency": 0}, "sync_concurrency must be a whole number from 1"),
        ({"process_concurrency": 0}, "process_concurrency must be a whole number from 1"),
        ({"lifespan": lifespan()}, "pass it without calling it"),
        ({"redis_url": 6379}, "the URL of a server is text"),
        ({"grace_period": True}, "grace_period is a number of seconds or a timedelta, not bool"),
        ({"deadline": 10**400}, "deadline must be"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_of_a_worker_object(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Worker(**{"redis_url": "memory://", **options})


def report(customer: int, *, context: TaskContext, kind: str = "short") -> None: ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "'customer'"),
        ({"args": (1, 2)}, "too many positional arguments"),
        ({"args": (1,), "kwargs": {"colour": "red"}}, "'colour'"),
        ({"args": (1,), "kwargs": {"context": None}}, "'context'"),
        ({"args": "seven"}, "args= is a tuple"),
        ({"args": (1,), "kwargs": [1]}, "kwargs= is a mapping"),
        ({"args": (1,), "unique": "yes"}, "unique= is True or False"),
        ({"args": (1,), "run_at_startup": 1}, "run_at_startup= is True or False"),
    ],
)
def test_of_a_schedule(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        worker.cron("0 3 * * *", name=f"wrong {told}", **options)(report)


def test_a_schedule_calls_what_can_be_called_so() -> None:
    worker.cron("0 3 * * *", name="right", args=[1], kwargs={"kind": "long"})(report)  # type: ignore[arg-type]
    worker.cron("0 3 * * *", name="given", middleware=lambda call_next: call_next)(report)
    worker.cron("0 3 * * *")("app.tasks.elsewhere")


@pytest.mark.anyio
async def test_of_calls_from_outside() -> None:
    async with worker:
        with pytest.raises(ConfigurationError, match="aware datetime"):
            await worker.pause(until="tomorrow")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="limit= is a whole number"):
            await worker.dead_letters(limit="ten")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="offset= is a whole number"):
            await worker.get_tasks_by_status(TaskStatus.QUEUED, offset=-1)
        with pytest.raises(ConfigurationError, match="enqueue_many takes"):
            await worker.enqueue_many(work)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="map takes"):
            await worker.map(work, 3)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="name of a task"):
            worker.enqueue_by_name(["work"])  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="schedule takes a call"):
            await worker.schedule(work, "* * * * *")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="carry takes a ContextVar"):
            worker.carry("tenant")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="a group is made of"):
            worker.group(7)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="TestWorker takes the worker object"):
            TestWorker("app.worker")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="task id"):
            await worker.schedule(work.enqueue(), "* * * * *", schedule_id=["a"])  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [float("nan"), "5", True], ids=str)
async def test_of_how_long_somebody_waits(timeout: Any) -> None:
    async with worker:
        task, waiting = work.enqueue(), await work.enqueue()
        for wait in (
            waiting.result(timeout),
            waiting.abort(timeout),
            worker.abort_workflow(waiting.id, timeout),
            worker.group([]).results(timeout),
            worker.gather(task, timeout=timeout),
        ):
            with pytest.raises(ConfigurationError, match="timeout= is a number of seconds or a timedelta"):
                await wait
        assert task.existed is None  # nothing was done before it was refused
        assert await waiting.status() is TaskStatus.QUEUED
        assert await waiting.abort()


@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [-1, timedelta(-1), 0])
async def test_a_time_that_has_passed_is_no_time(timeout: Any) -> None:
    async with worker:
        task = await work.enqueue()
        with pytest.raises(ResultTimeout):
            await task.result(timeout)
        assert await task.abort()


@pytest.mark.anyio
async def test_of_an_audit() -> None:
    async with worker:
        for rate in (float("nan"), float("inf"), -1, "5", True):
            with pytest.raises(ConfigurationError, match="rate= is how many places a second"):
                await worker.audit(rate=rate)
            with pytest.raises(ConfigurationError, match="rate= is how many places a second"):
                await worker.reseal(rate=rate)
        with pytest.raises(ConfigurationError, match="since_ms= is a whole number from 0 on"):
            await worker.audit(since_ms="3d")  # type: ignore[arg-type]


@pytest.mark.parametrize("overrides", [[1], {print: 1}, {1: print}, "print", 0], ids=str)
def test_of_what_is_called_instead(overrides: Any) -> None:
    with pytest.raises(ConfigurationError, match="a mapping from functions to functions"):
        TestWorker(worker, overrides=overrides)
    with pytest.raises(ConfigurationError, match="a mapping from functions to functions"):
        worker.dependency_overrides = overrides


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"clock": 7}, "clock= is a StoppedClock"),
        ({"server": 7}, "the URL of a server is text"),
        ({"patience": "long"}, "patience is a number of seconds"),
        ({"patience": float("nan")}, "patience is a number of seconds"),
    ],
    ids=str,
)
def test_of_a_worker_object_under_test(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        TestWorker(worker, **options)


@pytest.mark.anyio
async def test_of_what_a_test_wants() -> None:
    tested: Worker[Any] = Worker("memory://")
    async with TestWorker(tested) as queue:
        for wrong in (float("nan"), float("inf"), 10**400, "1"):
            with pytest.raises(ConfigurationError, match="no such number of it: hours"):
                await queue.advance(hours=wrong)
            with pytest.raises(ConfigurationError, match="tasks must be a whole number"):
                await queue.lose_worker(wrong)
            with pytest.raises(ConfigurationError, match="seconds"):
                queue.faults.delay(wrong)
        for times in (float("nan"), 0, "1", True):
            with pytest.raises(ConfigurationError, match="times= is how many calls"):
                queue.faults.refuse(times=times)
        with pytest.raises(ConfigurationError, match="times must be a whole number from 1"):
            queue.assert_enqueued(work.enqueue(), times=0)
        assert await queue.drain() == {}  # no fault was taken in


def test_no_retry_policy_is_the_usual_one() -> None:
    assert worker.task(name="usual", retry_policy=None)(print).settings.backoff is work.settings.backoff  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ({}, {"max_tries": "3"}, "whole number from 1 on"),
        ({}, {"max_tries": 2**64}, "up to 9,999"),
        ({}, {"headers": "trace"}, "a mapping from text to text"),
        ({}, {"headers": [("a", "b")]}, "a mapping from text to text"),
        ({}, {"after": 7}, "the id of a task"),
        ({}, {"after": work}, "the id of a task"),
        ({}, {"on": "failure"}, "belong to after="),
        ({}, {"gone": "run"}, "belong to after="),
        ({"delay": 5}, {"schedule": "* * * * *"}, "either delay= or schedule="),
        ({"schedule": "* * * * *"}, {"delay": 5}, "either delay= or schedule="),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_of_a_call(first: dict[str, Any], then: dict[str, Any], told: str) -> None:
    call = work.enqueue().start(**first)
    with pytest.raises(ConfigurationError, match=told):
        call.start(**then)


def test_two_context_variables_of_one_name_are_not_carried_as_one() -> None:
    one, other = ContextVar[str]("the same"), ContextVar[str]("the same")
    carrier: Worker[Any] = Worker("memory://")
    carrier.carry(one, name="trace")
    carrier.carry(one, name="trace", dump=str.upper)
    with pytest.raises(ConfigurationError, match=r"'trace' already; pass carry\(…, name=…\)"):
        carrier.carry(other, name="trace")


@pytest.mark.anyio
async def test_of_what_a_worker_is_asked() -> None:
    async with worker:
        with pytest.raises(ConfigurationError, match="map takes a registered task"):
            await worker.map(print, [1])  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="no priority 'high'"):
            await worker.get_tasks_by_status(TaskStatus.QUEUED, priority="high")
