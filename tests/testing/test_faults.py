"""Connections break on purpose, in memory and on a real server, and the library does what it does in production."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import pytest

from secure_queue import ConfigurationError, TaskStatus, Unavailable, Worker
from secure_queue.testing import TestWorker
from tests.servers import PATIENCE
from tests.testing.conftest import NOWHERE, Shop
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop() -> Shop:
    return Shop(Worker(NOWHERE, queue_name=f"shop-{uuid4().hex}", signing_secret=SECRET))


@pytest.fixture(params=["memory", "server"])
async def queue(request: pytest.FixtureRequest, shop: Shop, anyio_backend: object) -> AsyncIterator[TestWorker]:
    """The shop in memory, and on a real server."""
    if request.param == "memory":
        async with TestWorker(shop.worker) as opened:
            opened.faults.patience = PATIENCE
            yield opened
        return
    server = request.getfixturevalue("real_server")
    async with TestWorker(shop.worker, server=f"unix://{server.unix_path}", patience=PATIENCE) as opened:
        opened.faults.patience = PATIENCE
        yield opened


async def test_a_refused_connection_is_tried_again_until_it_is_accepted(shop: Shop, queue: TestWorker) -> None:
    queue.faults.refuse("enqueue", times=3)
    task = await shop.send.enqueue(7)
    assert queue.faults.met == [("refused", "enqueue")] * 3
    assert await queue.drain() == {"completed": 1}
    assert (await task.result(PATIENCE)).result == "hello 7"


async def test_an_outage_that_lasts_raises_and_has_stored_nothing(shop: Shop, queue: TestWorker) -> None:
    queue.faults.patience = 0.2
    queue.faults.refuse()
    with pytest.raises(Unavailable, match=r"within 0\.2 s .*connection refused"):
        await shop.send.enqueue(7)
    queue.faults.heal()
    queue.faults.patience = PATIENCE
    queue.assert_nothing_enqueued()
    assert await queue.drain() == {}


async def test_a_lost_reply_leaves_one_task_whose_enqueue_is_confirmed(shop: Shop, queue: TestWorker) -> None:
    queue.faults.lose_reply("enqueue", times=2)
    task = await shop.send.enqueue(7)
    assert task.existed is False
    assert await shop.worker.queue_size() == 1
    queue.assert_enqueued(shop.send.enqueue(7), times=1)


async def test_a_reply_that_stays_lost_raises_and_the_same_handle_again_makes_no_second_task(
    shop: Shop, queue: TestWorker
) -> None:
    queue.faults.patience = 0.2
    queue.faults.lose_reply("enqueue", times=float("inf"))
    task = shop.send.enqueue(7)
    with pytest.raises(Unavailable, match="doing the same again is safe"):
        await task
    queue.faults.heal()
    queue.faults.patience = PATIENCE
    await task
    assert await queue.drain() == {"completed": 1}
    assert shop.did == [(7, "hello")]


@pytest.mark.parametrize("fault", ["refuse", "lose_reply", "cut"])
async def test_a_worker_whose_calls_break_runs_each_task_once_and_settles_it(
    shop: Shop, queue: TestWorker, fault: str
) -> None:
    tasks = [await shop.send.enqueue(number) for number in range(3)]
    for verb in ("claim", "complete", "tick"):
        getattr(queue.faults, fault)(verb, times=1)
    assert await queue.drain() == {"completed": 3}
    assert sorted(shop.did) == [(number, "hello") for number in range(3)]
    assert {verb for _, verb in queue.faults.met} == {"claim", "complete", "tick"}
    for task in tasks:
        assert (await task.result(PATIENCE)).tries == 1


async def test_a_result_arrives_though_all_connections_break_while_it_is_waited_for(
    shop: Shop, queue: TestWorker
) -> None:
    task = await shop.send.enqueue(7)
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            assert (await task.result(PATIENCE)).result == "hello 7"

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await queue.faults.break_connections()
        assert await queue.drain() == {"completed": 1}


async def test_a_late_reply_is_waited_for_and_one_that_is_too_late_is_asked_for_again(
    shop: Shop, queue: TestWorker
) -> None:
    queue.faults.delay(0.05, "enqueue", times=1)
    queue.faults.delay(60, "look_up", times=1)
    began = anyio.current_time()
    task = await shop.send.enqueue(7)
    assert anyio.current_time() - began >= 0.05
    queue.faults.patience = 1
    with pytest.raises(Unavailable, match="too late"):
        await task.status()
    queue.faults.patience = PATIENCE
    assert await task.status() is TaskStatus.QUEUED


async def test_a_fault_of_a_call_that_does_not_exist_is_refused_with_the_names_of_those_that_do(
    shop: Shop, queue: TestWorker
) -> None:
    with pytest.raises(ConfigurationError, match=r"no call is named 'enqeue'.*claim, .*complete"):
        queue.faults.refuse("enqeue")


@pytest.mark.parametrize("queue", ["server"], indirect=True)
async def test_a_real_server_has_its_own_clock_and_says_so(shop: Shop, queue: TestWorker) -> None:
    for move in (queue.advance(hours=1), queue.finish()):
        with pytest.raises(ConfigurationError, match="its own clock"):
            await move
    with pytest.raises(ConfigurationError, match="its own clock"):
        _ = queue.clock
