"""``Router()`` with ``@router.actor``; ``Worker(routers=[a, b])`` and ``include_router``; workers are routers."""

from __future__ import annotations

import pytest

from secure_queue import ConfigurationError, Router
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_decorator_leaves_the_function_callable(place: Place) -> None:
    router = Router()

    @router.actor
    async def plain(number: int) -> int:
        return number + 1

    @router.actor(name="another_name")
    def named() -> str:
        return "called"

    assert (await plain(1), named()) == (2, "called")
    assert plain.fn_name.endswith("plain")
    assert named.fn_name == "another_name"
    with pytest.raises(ConfigurationError, match="no worker object has included"):
        await plain.enqueue(1)


async def test_a_worker_takes_routers_and_is_one(place: Place) -> None:
    one, two = Router(), Router()

    @one.actor
    async def first() -> str:
        return "first"

    @two.actor
    async def second() -> str:
        return "second"

    worker = place.worker(routers=[one])
    worker.include_router(two)

    @worker.actor
    async def third() -> str:
        return "third"

    async with running(worker):
        outcomes = [await (await task.enqueue()).result(timeout=PATIENCE) for task in (first, second, third)]
        assert [outcome.result for outcome in outcomes] == ["first", "second", "third"]


async def test_an_actor_with_an_existing_name_overrides_the_former(place: Place) -> None:
    routers = [Router(), Router()]
    for number, router in enumerate(routers):
        router.task(name="same")(lambda number=number: number)
        router.cron("0 0 1 1 *", name=f"at-{number}", schedule_id="yearly")(lambda: None)
    worker = place.worker(routers=routers)
    assert worker.declared_schedules["yearly"].repeated.function == "at-1"
    async with running(worker):
        assert (await (await worker.enqueue_by_name("same")).result(timeout=PATIENCE)).result == 1
    routers[0].task(name="late")(lambda: "late")
    assert worker.registry["late"].home is worker


async def test_the_retry_policy_is_any_callable_of_the_retry_number(place: Place) -> None:
    """⚠ Repid's protocol says timedelta and its page returns an int; here both are right."""
    router = Router()
    asked: list[int] = []

    def policy(retry_number: int = 1) -> int:
        asked.append(retry_number)
        return retry_number * 0

    @router.actor(retry_policy=policy, max_tries=3)
    async def flaky() -> int:
        if flaky.context.tries < 3:
            raise LookupError
        return flaky.context.tries

    async with running(place.worker(routers=[router])):
        assert (await (await flaky.enqueue()).result(timeout=PATIENCE)).result == 3
    assert asked == [1, 2]


async def test_a_handle_of_a_router_asks_its_worker(place: Place) -> None:
    router = Router()

    @router.task
    async def noop() -> None: ...

    early = noop.enqueue()
    worker = place.worker(routers=[router])
    async with running(worker):
        await early
        assert (await early.result(timeout=PATIENCE)).success
        assert await early.status() == "done"
        assert await early.info() is None
        assert await early.abort() is False
        assert await early.unschedule() is False
