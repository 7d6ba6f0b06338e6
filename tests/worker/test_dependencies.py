"""Arguments that are injected: made for each run, torn down after it, and never taken from the call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import anyio
import pytest

from secure_queue import ConfigurationError, Depends, Router, TaskContext
from tests.features.conftest import place as place
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio

told: list[str] = []


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    told.clear()


async def connection() -> AsyncIterator[str]:
    told.append("open")
    try:
        yield f"connection {told.count('open')}"
    except BaseException as error:
        told.append(type(error).__name__)
        raise
    finally:
        told.append("close")


class Session:
    def __init__(self, connection: Annotated[str, Depends(connection)], context: TaskContext) -> None:
        self.name = f"{connection} of {context.fn_name}"


def user(session: Annotated[Session, Depends()]) -> Iterator[str]:
    yield f"alice by {session.name}"


Alias = Annotated[str, Depends(connection)]


async def test_dependencies_of_dependencies_are_made_once_for_each_run_and_torn_down(place: Place) -> None:
    worker = place.worker()

    @worker.task(name="job")
    async def job(
        number: int, session: Session = Depends(), *, who: str = Depends(user), same: Alias, extra: int = 5
    ) -> list[Any]:
        told.append("job")
        return [number, session.name, who, same, extra]

    async with running(worker):
        for time, call in ((1, {"extra": 6}), (2, {})):
            task = await worker.enqueue_by_name("job", 3, **call)
            name = f"connection {time}"
            expected = [3, f"{name} of job", f"alice by {name} of job", name, call.get("extra", 5)]
            assert (await task.result(timeout=PATIENCE)).result == expected
    assert told == ["open", "job", "close"] * 2


@pytest.mark.parametrize("end", ["failure", "timeout"])
async def test_a_dependency_learns_how_the_run_ended(place: Place, end: str) -> None:
    worker = place.worker()

    @worker.task(max_tries=1, timeout=0.05 if end == "timeout" else 20)
    async def job(*, db: str = Depends(connection)) -> None:
        if end == "failure":
            raise LookupError
        await anyio.sleep_forever()

    async with running(worker):
        outcome = await (await job.enqueue()).result(timeout=PATIENCE)
        assert not outcome.success
    assert (told[0], told[-1]) == ("open", "close")
    assert told[1] == "LookupError" if end == "failure" else "Cancelled" in told[1]


async def test_a_dependency_that_swallows_a_failure_does_not_change_it(place: Place) -> None:
    worker = place.worker()

    def swallowing() -> Iterator[None]:
        try:
            yield
        except LookupError:
            told.append("swallowed")

    @worker.task(max_tries=1)
    def job(nothing: Any = Depends(swallowing)) -> None:
        raise LookupError("still")

    async with running(worker):
        assert str((await (await job.enqueue()).result(timeout=PATIENCE)).exception) == "LookupError: still"
    assert told == ["swallowed"]


async def test_nobody_can_pass_what_is_injected(place: Place) -> None:
    worker = place.worker()

    @worker.task(name="job", max_tries=1)
    async def job(*, who: str = Depends(lambda: "the real one")) -> str:
        return who

    async with running(worker):
        forged = await (await worker.enqueue_by_name("job", who="root")).result(timeout=PATIENCE)
        assert "injected and cannot be passed" in str(forged.exception)
        assert (await (await job.enqueue()).result(timeout=PATIENCE)).result == "the real one"


async def test_what_is_passed_by_name_and_what_is_left_over_keep_their_places(place: Place) -> None:
    worker = place.worker()

    @worker.task(name="job")
    def job(a: int, b: int = Depends(lambda: 2), c: int = 3, *rest: int, **more: int) -> list[Any]:
        return [a, b, c, rest, more]

    async with running(worker):
        for args, kwargs, expected in (
            ((1,), {}, [1, 2, 3, (), {}]),
            ((1, 7, 8), {"x": 9}, [1, 2, 7, (8,), {"x": 9}]),
            ((), {"a": 1, "c": 4}, [1, 2, 4, (), {}]),
        ):
            outcome = await (await worker.enqueue_by_name("job", *args, **kwargs)).result(timeout=PATIENCE)
            assert outcome.result == expected


async def test_providers_are_replaced_in_tests(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def job(*, db: str = Depends(connection)) -> str:
        return db

    def fake(context: TaskContext) -> str:
        return f"fake of {context.task_id}"

    worker.dependency_overrides[connection] = fake
    async with running(worker):
        task = await job.enqueue().start(id="t")
        assert (await task.result(timeout=PATIENCE)).result == "fake of t"
    assert told == []


async def test_a_router_has_replacements_of_its_own_and_those_of_the_worker_come_first(place: Place) -> None:
    worker, router = place.worker(), Router()

    def other() -> str:
        return "the real one"

    @router.task(name="job")
    async def job(db: str = Depends(connection), more: str = Depends(other)) -> str:
        return f"{db}, {more}"

    worker.include(router)
    router.dependency_overrides = {connection: lambda: "of the router", other: lambda: "of the router"}
    worker.dependency_overrides[other] = lambda: "of the worker"
    async with running(worker):
        outcome = await (await job.enqueue()).result(timeout=PATIENCE)
        assert outcome.result == "of the router, of the worker"
        router.dependency_overrides = worker.dependency_overrides = {connection: lambda: "replaced at once"}
        outcome = await (await job.enqueue()).result(timeout=PATIENCE)
        assert outcome.result == "replaced at once, the real one"


async def test_a_cache_can_be_refused(place: Place) -> None:
    worker = place.worker()
    numbers = iter(range(10))

    def number() -> int:
        return next(numbers)

    @worker.task
    async def job(
        a: int = Depends(number), b: int = Depends(number), c: int = Depends(number, use_cache=False)
    ) -> list[int]:
        return [a, b, c]

    async with running(worker):
        assert (await (await job.enqueue()).result(timeout=PATIENCE)).result == [0, 0, 1]


def needs_itself(x: Any = Depends(lambda: None)) -> None: ...


needs_itself.__defaults__ = (Depends(needs_itself),)


@pytest.mark.parametrize(
    ("provider", "word"),
    [
        (lambda needed: None, "nobody provides"),
        (needs_itself, "needs itself"),
        (7, "takes a function"),
        (None, "as its annotation"),
    ],
    ids=["a-parameter-of-a-provider", "a-circle", "no-function", "no-annotation"],
)
def test_a_dependency_that_cannot_be_made_is_told_when_the_task_is_declared(provider: Any, word: str) -> None:
    def job(x=Depends(provider)):  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(ConfigurationError, match=word):
        Router().task(job)


@pytest.mark.parametrize("annotation", ["Annotated[Unknown, Depends(open_it)]", "TaskContext"])
def test_an_annotation_that_asks_for_an_injection_and_means_nothing_is_told_too(annotation: str) -> None:
    """Without that the task would run with its default, or with what whoever enqueues puts there."""
    names: dict[str, Any] = {}
    exec(f"from __future__ import annotations\nasync def job(db: {annotation} = None): ...", names)
    with pytest.raises(ConfigurationError, match="cannot be evaluated"):
        Router().task(names["job"])
