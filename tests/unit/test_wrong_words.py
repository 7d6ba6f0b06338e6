"""Options that make no sense are refused where they are written, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import ConfigurationError, TaskStatus, Worker

worker: Worker[Any] = Worker("memory://")


@worker.task
async def work() -> None: ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_tries": "3"}, "whole number from 1 on"),
        ({"max_tries": True}, "whole number from 1 on"),
        ({"max_tries": 2.5}, "whole number from 1 on"),
        ({"retry_policy": 7}, "a function from the number of tries"),
        ({"retry_policy": "exponential"}, "a function from the number of tries"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_of_a_task(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        worker.task(name="wrong", **options)(print)


def test_no_retry_policy_is_the_usual_one() -> None:
    assert worker.task(name="usual", retry_policy=None)(print).settings.backoff is work.settings.backoff  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ({}, {"max_tries": "3"}, "whole number from 1 on"),
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


def test_of_a_worker() -> None:
    with pytest.raises(ConfigurationError, match=r"for example \['low', 'high'\]"):
        Worker("memory://", priorities="low")


@pytest.mark.anyio
async def test_of_what_a_worker_is_asked() -> None:
    async with worker:
        with pytest.raises(ConfigurationError, match="map takes a registered task"):
            await worker.map(print, [1])  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="no priority 'high'"):
            await worker.get_tasks_by_status(TaskStatus.QUEUED, priority="high")
