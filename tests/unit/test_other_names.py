"""Who knows another library finds the names here: by an alias, or by an error that says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secure_queue import ConfigurationError, Router, Worker, other_names
from secure_queue.call_options import CallWishes
from secure_queue.task_options import TaskOptions

worker = Worker("memory://")


@worker.task
async def work() -> None: ...


@pytest.mark.parametrize("name", other_names.OF_TASKS)
def test_an_option_of_a_task_that_is_called_otherwise_here_is_told(name: str) -> None:
    told = f"no such option of a task: {name} (here it is {other_names.OF_TASKS[name]})"
    with pytest.raises(TypeError) as raised:
        worker.task(**{name: 5})  # type: ignore[call-overload]
    assert str(raised.value) == told


@pytest.mark.parametrize("name", other_names.OF_CALLS)
def test_an_option_of_a_call_that_is_called_otherwise_here_is_told(name: str) -> None:
    with pytest.raises(TypeError) as raised:
        work.enqueue().start(**{name: 5})
    assert str(raised.value) == f"no such option of a call: {name} (here it is {other_names.OF_CALLS[name]})"


@pytest.mark.parametrize("name", other_names.OF_CALLS_BY_NAME)
def test_what_arq_takes_among_the_arguments_is_no_argument_of_the_function(name: str) -> None:
    with pytest.raises(TypeError) as raised:
        worker.enqueue_by_name("fetch", "a", **{name: 5})
    assert str(raised.value) == f"no such option of a call: {name} (here it is {other_names.OF_CALLS_BY_NAME[name]})"


@pytest.mark.parametrize("name", other_names.OF_WORKERS)
def test_an_argument_of_a_worker_that_is_called_otherwise_here_is_told(name: str) -> None:
    with pytest.raises(TypeError) as raised:
        Worker("memory://", **{name: 5})
    assert str(raised.value) == f"no such option of a Worker: {name} (here it is {other_names.OF_WORKERS[name]})"


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (work, other_names.OF_FUNCTIONS),
        (work.enqueue(), other_names.OF_HANDLES),
        (worker, other_names.OF_WORKER_OBJECTS),
        (Router(), other_names.OF_WORKER_OBJECTS),
    ],
    ids=["function", "handle", "worker", "router"],
)
def test_a_method_that_is_called_otherwise_here_is_told(owner: Any, names: dict[str, str]) -> None:
    for name, ours in names.items():
        with pytest.raises(AttributeError) as raised:
            getattr(owner, name)
        assert str(raised.value) == f"there is no {name} here; it is {ours}"
    with pytest.raises(AttributeError, match="has no attribute 'anything_else'"):
        _ = owner.anything_else


def test_a_name_that_nobody_has_is_no_option() -> None:
    for wrong in (lambda: worker.task(colour=1), lambda: work.enqueue().start(colour=1), lambda: Worker(colour=1)):  # type: ignore[call-overload,call-arg,arg-type]
        with pytest.raises(TypeError, match=r"no such option of a \w+: colour$"):
            wrong()


def test_no_name_of_ours_is_told_to_be_another_one() -> None:
    assert not TaskOptions.__annotations__.keys() & other_names.OF_TASKS.keys()
    assert not CallWishes.__annotations__.keys() & other_names.OF_CALLS.keys()
    for owner, names in ((work, other_names.OF_FUNCTIONS), (worker, other_names.OF_WORKER_OBJECTS)):
        assert not set(dir(owner)) & names.keys()
    assert not set(dir(work.enqueue())) & other_names.OF_HANDLES.keys()


def test_what_a_property_raises_is_not_hidden() -> None:
    class Broken(other_names.OtherNames):
        @property
        def value(self) -> int:
            raise AttributeError("inside")

    with pytest.raises(AttributeError, match="inside"):
        _ = Broken().value


def test_the_lifetime_of_a_result_has_two_names() -> None:
    for given, expected in ((60, 60.0), (timedelta(minutes=1), 60.0), (None, None), (0, 0.0)):
        assert worker.task(name=f"kept {given}", result_ttl=given)(print).settings.ttl_s == expected
    assert work.enqueue().start(result_ttl=5).options == work.enqueue().start(ttl=5).options
    for wrong in (lambda: worker.task(ttl=1, result_ttl=1), lambda: work.enqueue().start(ttl=1, result_ttl=2)):
        with pytest.raises(ConfigurationError, match="the same"):
            wrong()


def test_run_at_is_a_moment() -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    assert work.enqueue().start(run_at=moment).at_ms == work.enqueue().start(schedule=moment).at_ms > 0
    for wrong in ({"run_at": moment, "schedule": moment}, {"run_at": "* * * * *"}, {"run_at": moment, "delay": 5}):
        with pytest.raises(ConfigurationError):
            work.enqueue().start(**wrong)  # type: ignore[arg-type]


def test_cancel_is_abort() -> None:
    assert type(work.enqueue()).cancel is type(work.enqueue()).abort
