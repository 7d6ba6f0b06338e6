"""Several queues in one process: in strict order, by weight, and one in trouble that stops no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from secure_queue import ConfigurationError, Router, TaskStatus, Worker, serve
from tests.servers import PATIENCE, eventually, happens
from tests.worker.places import SECRET, Place, open_place

pytestmark = pytest.mark.anyio

PATIENT = 2 * PATIENCE


@pytest.fixture
async def place(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """An empty database: on a real server with asyncio, in memory with trio."""
    server = request.getfixturevalue("real_server") if anyio_backend == "asyncio" else None
    async with open_place("memory" if server is None else "server", server) as opened:
        yield opened


class Log:
    """Which queues have started tasks, in order, and how many run at once."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.running = 0
        self.most = 0
        self.gate = anyio.Event()

    async def run(self, queue: str) -> None:
        self.started.append(queue)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        await anyio.sleep(0.001)
        self.running -= 1


def queues(place: Place, log: Log, *names: str, **options: Any) -> list[Worker[Any]]:
    made = [place.worker(queue_name=name, id=name, **options) for name in names]
    for worker in made:

        @worker.task(name="work")
        async def work(queue: str = worker.queue_name) -> None:
            await log.run(queue)

    return made


@asynccontextmanager
async def filled(workers: Sequence[Worker[Any]], count: int) -> AsyncIterator[TaskGroup]:
    async with anyio.create_task_group() as group:
        for worker in workers:
            async with worker:
                await worker.enqueue_many([worker.enqueue_by_name("work") for _ in range(count)])
        with anyio.fail_after(PATIENT):
            yield group


def end(workers: Sequence[Worker[Any]]) -> None:
    for worker in workers:
        worker.drain()


async def test_in_strict_order_a_lower_queue_runs_only_when_the_higher_ones_are_empty(place: Place) -> None:
    log = Log()
    workers = queues(place, log, "high", "middle", "low", concurrency=2)
    async with filled(workers, 20) as group:
        log.gate.set()
        await group.start(serve, *workers)
        await happens(lambda: len(log.started) == 60)
        first = {name: log.started.index(name) for name in ("high", "middle", "low")}
        last = {name: 59 - log.started[::-1].index(name) for name in ("high", "middle", "low")}
        # Two seats: a queue that is found empty may have a task or two beside it at the border.
        assert last["high"] < first["middle"] + 4
        assert last["middle"] < first["low"] + 4
        assert log.most == 2
        end(workers)


async def test_a_task_of_a_higher_queue_gets_the_next_seat(place: Place) -> None:
    log = Log()
    high, low = workers = queues(place, log, "high", "low", concurrency=1)
    async with filled([low], 20) as group:
        await group.start(serve, *workers)
        await happens(lambda: log.running == 1)
        async with high:
            task = await high.enqueue_by_name("work")

            async def known() -> bool:
                return await task.status() is TaskStatus.QUEUED and high.counters["handed_back"] > 0

            await eventually(known)  # it has been seen, and there was no seat
            log.gate.set()
            await task.result(timeout=PATIENCE)
        assert "high" in log.started[:3]
        end(workers)


async def test_by_weight_queues_with_work_share_the_seats_and_one_alone_has_them_all(place: Place) -> None:
    log = Log()
    workers = queues(place, log, "three", "one")
    async with filled(workers, 60) as group:
        log.gate.set()
        async with anyio.create_task_group() as inner:

            async def run() -> None:
                reports = await serve(*workers, weights=(3, 1), concurrency=4)
                assert sum(report.processed for report in reports) == 120

            inner.start_soon(run)
            await happens(lambda: len(log.started) == 120)
            await happens(lambda: log.running == 0)
            end(workers)
        share = log.started[:60].count("three")  # 45, but for the border where one of them begins first
        assert 38 <= share <= 52, share
        assert log.most <= 4
        group.cancel_scope.cancel()


async def test_a_queue_whose_server_is_away_stops_no_other(place: Place, tmp_path: Any) -> None:
    log = Log()
    (well,) = queues(place, log, "well", concurrency=2)
    away: Worker[Any] = Worker(
        f"unix://{tmp_path}/nobody", queue_name="away", signing_secret=SECRET, handle_signals=False, deadline=1
    )
    async with filled([well], 10) as group:
        log.gate.set()
        group.start_soon(serve, away, well)
        await happens(lambda: len(log.started) == 10)
        end([away, well])


async def test_a_worker_that_has_done_enough_ends_all_of_them(place: Place) -> None:
    log = Log()
    workers = queues(place, log, "one", "two", concurrency=2)
    workers[0].messages_limit = 3
    async with filled(workers, 6):
        log.gate.set()
        reports = await serve(*workers)
        assert (reports[0].processed, reports[0].has_done_enough) == (3, True)
    assert [worker.share for worker in workers] == [None, None]


async def test_an_error_of_one_ends_all_of_them_and_is_raised_as_it_is(place: Place) -> None:
    log = Log()
    good, bad = queues(place, log, "good", "bad")

    @bad.on_startup
    def break_it() -> None:
        raise LookupError("no such table")

    with anyio.fail_after(PATIENT), pytest.raises(LookupError, match="no such table"):
        await serve(good, bad)


async def test_what_cannot_be_shared_is_refused(place: Place) -> None:
    worker, other = queues(place, Log(), "one", "two")
    [another] = queues(place, Log(), "one")
    for wrong in (
        lambda: serve(),
        lambda: serve(worker, worker),
        lambda: serve(worker, other, another),
        lambda: serve(worker, other, weights=(1,)),
        lambda: serve(worker, other, weights=5),  # type: ignore[arg-type]  # what users may write
        lambda: serve(worker, other, weights=(1, 0)),
        lambda: serve(worker, other, weights=(1, True)),
        lambda: serve(worker, other, concurrency=0),
        lambda: serve(worker, other, concurrency=True),
    ):
        with pytest.raises(ConfigurationError):
            await wrong()


def test_two_private_servers_are_two_queues_whatever_their_names_are() -> None:
    assert not Worker("memory://").has_queue_of(Worker("memory://"))
    assert not Worker("embedded://").has_queue_of(Worker("embedded://"))
    assert Worker("memory://one").has_queue_of(Worker("memory://one"))
    assert not Worker("memory://one").has_queue_of(Worker("memory://one", queue_name="another"))


async def test_handles_of_one_queue_do_not_get_into_another_one(place: Place) -> None:
    router, mail, billing = Router(), place.worker(queue_name="mail"), place.worker(queue_name="billing")
    send = router.task(name="send", queue="mail")(lambda: None)
    charge = router.task(name="charge", queue="billing")(lambda: None)
    mail.include(router)
    billing.include(router)
    async with mail, billing:
        sent = await send.enqueue()
        for wrong in (
            lambda: billing.enqueue_many([send.enqueue()]),
            lambda: billing.enqueue_many([send.enqueue() | charge]),
            lambda: charge.enqueue().start(after=sent)._enqueue(),
            lambda: billing.gather(sent),
            lambda: billing.schedule(send.enqueue(), "0 6 * * *"),
        ):
            with pytest.raises(ConfigurationError, match="'send' is a task of queue 'mail', and this is 'billing'"):
                await wrong()
        assert (await mail.queue_size(), await billing.queue_size()) == (1, 0)
        assert await mail.schedules() == []
