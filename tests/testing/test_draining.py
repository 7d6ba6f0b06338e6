"""Running until drained, inline mode, and what a test worker puts in the place of the worker's own."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from secure_queue import ConfigurationError, Depends, SecureQueueError, TaskStatus, Worker
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.tasks import RegisteredTask
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE
from tests.testing.conftest import NOWHERE, START, Shop
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


async def test_nothing_runs_before_it_is_drained_and_then_all_that_is_due_does(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        await shop.order.enqueue(7)
        await anyio.wait_all_tasks_blocked()
        assert shop.did == []
        assert await queue.drain() == {"completed": 2}
        assert shop.did == ["order 7", (7, "thanks")]  # what is due in an hour waits
        assert await queue.finish() == {"completed": 1}
        assert await queue.drain() == {}


async def test_the_queue_is_empty_for_each_test_worker(shop: Shop) -> None:
    async with TestWorker(shop.worker):
        await shop.send.enqueue(1)
    async with TestWorker(shop.worker) as queue:
        assert await queue.drain() == {}
        assert await shop.worker.queue_size() == 0


async def test_all_partitions_are_drained() -> None:
    shop = Shop(Worker(NOWHERE, queue_name="wide", signing_secret=SECRET, partitions=4))
    async with TestWorker(shop.worker) as queue:
        tasks = [shop.send.enqueue(number) for number in range(8)]
        for number, task in enumerate(tasks):
            task.id = f"task-{number}"
        await shop.worker.enqueue_many(tasks)
        await shop.worker.enqueue_many([shop.send.enqueue(9).start(delay=5)])
        assert await queue.finish() == {"completed": 9}


async def test_failures_are_counted_and_kept_as_in_production(shop: Shop) -> None:
    @shop.worker.task(max_tries=1)
    async def broken() -> None:
        raise ValueError("no")

    async with TestWorker(shop.worker) as queue:
        task = await broken.enqueue()
        assert await queue.drain() == {"failed": 1}
        assert [letter.task_id for letter in await shop.worker.dead_letters()] == [task.id]


async def test_a_task_that_the_worker_does_not_know_waits_and_is_named_by_who_waits_for_it(shop: Shop) -> None:
    unknown = RegisteredTask(shop.send.fn, replace(shop.send.settings, name="sned"), shop.worker)
    async with TestWorker(shop.worker) as queue:
        await unknown.enqueue(1)
        assert await queue.drain() == {}
        queue.patience = 0.5
        with pytest.raises(TimeoutError, match="no task of this worker is named sned"):
            await queue.finish()


async def test_tasks_that_never_come_to_rest_are_told_and_leave_the_test_worker_usable(shop: Shop) -> None:
    @shop.worker.task
    async def again() -> None:
        if len(shop.did) < 10_000:
            shop.did.append("again")
            await again.enqueue()

    async with TestWorker(shop.worker, patience=0.5) as queue:
        await again.enqueue()
        with pytest.raises(TimeoutError, match="enqueue each other for ever"):
            await queue.drain()
        queue.patience = PATIENCE
        shop.did += ["stop"] * 10_000
        await queue.drain()
        assert await shop.worker.queue_size() == 0


async def test_inline_a_task_has_run_when_its_enqueue_returns_and_was_sealed_and_opened(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        with queue.inline():
            task = await shop.order.enqueue(7)
            assert shop.did == ["order 7", (7, "thanks")]
            assert await task.status() is TaskStatus.DONE
            await shop.worker.enqueue_many([shop.send.enqueue(8)])
            assert shop.did[2:] == [(8, "hello")]
            with queue.inline():
                pass
            await shop.send.enqueue(10)
            assert shop.did.pop() == (10, "hello"), "the end of an inner one is not that of the outer one"
        await shop.send.enqueue(9)
        assert shop.did[3:] == []


async def test_a_payload_that_is_not_genuine_is_put_aside_as_in_production(shop: Shop) -> None:
    """Every task goes the whole way: what does not open never reaches its function."""
    foreign = Shop(Worker(NOWHERE, queue_name="shop", signing_secret=format_key(generate_key("foreign"))))
    async with TestWorker(shop.worker) as queue, TestWorker(foreign.worker) as outside:
        await foreign.send.enqueue(666)
        assert [entry.args for entry in outside.enqueued] == [(666,)]
        assert await queue.drain() == {"quarantined": 1}
        assert shop.did == []
        assert (await shop.worker.counts()).quarantined == 1


async def test_limits_for_a_process_do_not_end_that_of_the_tests(shop: Shop) -> None:
    shop.worker.messages_limit, shop.worker.memory_limit = 1, 1

    @shop.worker.task
    async def waits() -> str:
        outcome = await (await shop.send.enqueue(7)).result(timeout=PATIENCE)
        return outcome.result

    async with TestWorker(shop.worker) as queue:
        task = await waits.enqueue()
        assert await queue.drain() == {"completed": 2}
        assert (await task.result()).result == "hello 7"
    assert (shop.worker.messages_limit, shop.worker.memory_limit) == (1, 1)


async def test_inline_many_at_once_each_return_when_their_own_task_has_run(shop: Shop) -> None:
    async def place(user: int) -> None:
        await shop.send.enqueue(user)
        assert (user, "hello") in shop.did

    async with TestWorker(shop.worker) as queue:
        with queue.inline():
            async with anyio.create_task_group() as group:
                for user in range(5):
                    group.start_soon(place, user)


async def test_the_context_of_the_lifespan_can_be_replaced_and_comes_back() -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        yield "the real database"

    worker = Worker(NOWHERE, signing_secret=SECRET, lifespan=lifespan)

    @worker.task
    async def look() -> str:
        return worker.context

    for options, seen in (({"context": "a fake"}, "a fake"), ({}, "the real database"), ({"context": None}, None)):
        async with TestWorker(worker, **options) as queue:  # type: ignore[arg-type]
            task = await look.enqueue()
            await queue.drain()
            assert (await task.result()).result == seen


async def test_dependencies_can_be_overridden_and_come_back(shop: Shop) -> None:
    def database() -> str:
        return "the real database"

    @shop.worker.task
    async def look(found: str = Depends(database)) -> str:
        return found

    for overrides, seen in (({database: lambda: "a fake"}, "a fake"), (None, "the real database")):
        async with TestWorker(shop.worker, overrides=overrides) as queue:
            task = await look.enqueue()
            await queue.drain()
            assert (await task.result()).result == seen
    assert shop.worker.dependency_overrides == {}


async def test_signals_stay_with_the_test_runner(shop: Shop) -> None:
    seen: list[object] = []

    @shop.worker.task
    async def look() -> None:
        seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    async with TestWorker(shop.worker) as queue:
        await look.enqueue()
        await queue.drain()
    assert seen == [before]


async def test_the_application_may_open_its_worker_itself(shop: Shop) -> None:
    async with TestWorker(shop.worker) as queue:
        async with shop.worker:
            task = await shop.send.enqueue(1)
        await queue.drain()
        assert (await task.result()).success


async def test_two_objects_that_name_the_same_server_meet_in_the_same_queue(shop: Shop) -> None:
    web = Shop(Worker(NOWHERE, queue_name="shop", signing_secret=SECRET))
    async with TestWorker(shop.worker) as queue, TestWorker(web.worker) as outside:
        task = await web.send.enqueue(3)
        assert await queue.drain() == {"completed": 1}
        assert (await task.result()).success
        assert (shop.did, web.did) == ([(3, "hello")], [])
        assert await outside.drain() == {}


@pytest.mark.parametrize("place", ["memory", "server"])
async def test_a_worker_that_waits_for_replicas_waits_for_none_under_test(
    request: pytest.FixtureRequest, place: str
) -> None:
    shop = Shop(Worker("redis+sentinel://a.invalid,b.invalid,c.invalid/shop", signing_secret=SECRET, queue_name=place))
    server = f"unix://{request.getfixturevalue('real_server').unix_path}" if place == "server" else None
    async with TestWorker(shop.worker, server=server) as queue:
        queue.faults.patience = PATIENCE
        task = await shop.send.enqueue(1)
        assert (task.durability, await queue.drain()) == ("replicated", {"completed": 1})


async def test_what_was_replaced_is_as_before_afterwards(shop: Shop) -> None:
    names = ("_host", "_settings", "_lifespan", "burst", "declared_schedules")
    before = [getattr(shop.worker, name) for name in names]
    with pytest.raises(ZeroDivisionError):
        async with TestWorker(shop.worker, context=1) as queue:
            await shop.send.enqueue(1)
            with queue.inline():
                raise ZeroDivisionError
    assert [getattr(shop.worker, name) for name in names] == before
    assert "enqueue_many" not in vars(shop.worker)


async def test_a_test_worker_says_when_it_is_used_wrongly(shop: Shop) -> None:
    queue = TestWorker(shop.worker)
    with pytest.raises(SecureQueueError, match="not open"):
        await queue.drain()
    with pytest.raises(SecureQueueError, match="not open"):
        await queue.lose_worker()
    with pytest.raises(ConfigurationError, match="one of now="):
        TestWorker(shop.worker, now=START, server="redis://localhost")
    async with queue:
        with pytest.raises(SecureQueueError, match="entered already"):
            await queue.__aenter__()
        with pytest.raises(SecureQueueError, match="is open or runs already"):
            await TestWorker(shop.worker).__aenter__()


async def test_a_task_that_would_drain_its_own_queue_is_told_so(shop: Shop) -> None:
    @shop.worker.task(max_tries=1)
    async def drain() -> None:
        await queue.drain()

    async with TestWorker(shop.worker) as queue:
        task = await drain.enqueue()
        assert await queue.drain() == {"failed": 1}
        assert "SecureQueueError" in str((await task.result()).exception)


async def test_partitions_that_another_object_uses_are_drained_too(shop: Shop) -> None:
    wide = Shop(Worker(NOWHERE, queue_name="shop", signing_secret=SECRET, partitions=3))
    async with TestWorker(shop.worker) as queue, TestWorker(wide.worker):
        tasks = [wide.send.enqueue(number) for number in range(400)]
        await wide.worker.enqueue_many(tasks)
        assert len({task.id.rpartition(".")[0] for task in tasks}) == 3
        assert await queue.drain() == {"completed": 400}
