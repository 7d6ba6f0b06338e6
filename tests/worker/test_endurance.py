"""A worker goes on, and shares fairly, whatever happened before and whatever lies around in the queue."""

from __future__ import annotations

import anyio
import pytest

from secure_queue import Unavailable
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import Place, open_place, running

pytestmark = pytest.mark.anyio

BIG = 5_000_000


async def test_a_second_run_is_not_ended_by_what_was_asked_of_the_first(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def good() -> int:
        return 1

    async with worker:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run_async)
                await (await good.enqueue()).result(PATIENCE)
                scope.cancel()
    async with running(worker):
        assert (await (await good.enqueue()).result(PATIENCE)).result == 1


@pytest.mark.crossed
async def test_junk_among_the_abort_marks_hides_no_genuine_one_and_is_thrown_out(place: Place) -> None:
    worker, started = place.worker(), anyio.Event()

    @worker.task
    async def hang() -> None:
        started.set()
        await anyio.sleep_forever()

    async with running(worker):
        task = await hang.enqueue()
        await started.wait()
        for first in range(0, 2000, 100):
            junk = [word for number in range(100) for word in (b"junk%d" % (first + number), b"x")]
            await place.link.command("HSET", place.keys.aborts, *junk)
        await place.link.command("HSET", place.keys.aborts, b"big", b"x" * BIG)
        assert await task.abort(PATIENCE) is True
        await eventually(lambda: _is_empty(place, place.keys.aborts))


async def _is_empty(place: Place, key: bytes) -> bool:
    return await place.link.command("EXISTS", key) == 0


async def test_a_huge_id_and_a_huge_result_are_never_transferred_whole(place: Place) -> None:
    await place.link.command("RPUSH", place.keys.ready["normal"], b"i" * BIG)
    (_, [claim]) = await place.storage.claim("w", b"w.1", 1, 1000)
    assert len(claim.untrusted_id) < 20_000
    await place.link.command("SET", place.keys.result(b"a"), b"r" * BIG)
    [found] = await place.storage.watch("nobody", [b"a"])
    assert isinstance(found, bytes) and len(found) < 100


async def test_a_huge_failure_and_a_huge_abort_id_are_never_transferred_whole(place: Place) -> None:
    await place.link.command("HSET", place.keys.bucket(b"a"), b"!da", b"d" * BIG)
    [found] = await place.storage.watch("nobody", [b"a"])
    assert isinstance(found, bytes) and len(found) < 100
    huge = b"i" * BIG
    await place.link.command("HSET", place.keys.bucket(huge), huge, b"x")
    await place.link.command("HSET", place.keys.aborts, huge, b"mark")
    round_ = await place.storage.tick("w", gone_after_ms=1000, keep_dead_ms=1000, keep_dead=10)
    assert round_.untrusted_aborts == {}


async def test_who_claims_to_wait_a_million_times_stalls_nobody(place: Place) -> None:
    worker = place.worker()

    @worker.task
    async def good() -> int:
        return 1

    async with worker:
        task = await good.enqueue()
        name = task.id.encode()
        await place.link.command("HSET", place.keys.bucket(name), b"!w" + name, b"a\n" * 1_000_000)
    async with running(worker):
        assert (await task.result(PATIENCE)).result == 1


@pytest.mark.crossed
async def test_a_worker_that_was_fast_once_does_not_hoard_slow_tasks(place: Place) -> None:
    once_fast, other = (place.worker(concurrency=2, id=name) for name in ("once-fast", "other"))

    for worker in (once_fast, other):

        @worker.task(name="quick")
        async def quick() -> None: ...

        @worker.task(name="slow")
        async def slow() -> str:
            await anyio.sleep(0.1)
            return slow.context.worker_id

    async with running(once_fast):
        await once_fast.enqueue_many([once_fast.registry["quick"].enqueue() for _ in range(3000)])
        await eventually(lambda: _is_drained(once_fast))
        async with running(other):
            tasks = [once_fast.registry["slow"].enqueue() for _ in range(40)]
            await once_fast.enqueue_many(tasks)
            who = [(await task.result(PATIENCE)).result for task in tasks]
    assert min(who.count("once-fast"), who.count("other")) >= 8


async def _is_drained(worker: object) -> bool:
    counts = await worker.counts()  # type: ignore[attr-defined]
    return counts.running == 0 and not any(counts.ready.values())


async def test_a_producer_s_waiting_survives_the_end_of_the_running_side(place: Place) -> None:
    worker, results = place.worker(), list[int]()

    @worker.task
    async def good() -> int:
        return 7

    async with worker, anyio.create_task_group() as group:
        with anyio.fail_after(2 * PATIENCE):
            async with anyio.create_task_group() as first:
                first.start_soon(worker.run_async)
                await (await good.enqueue()).result(PATIENCE)
                worker.stop()

            task = await good.enqueue()

            async def wait() -> None:
                results.append((await task.result(PATIENCE)).result)

            group.start_soon(wait)
            group.start_soon(worker.run_async)
            while not results:
                await anyio.lowlevel.checkpoint()
            worker.stop()
    assert results == [7]


async def test_who_waits_when_the_client_is_closed_is_told(place: Place) -> None:
    worker, waiting = place.worker(), anyio.Event()

    @worker.task
    async def never() -> None: ...

    async def wait() -> None:
        waiting.set()
        with pytest.raises(Unavailable, match="closed"):
            await task.result()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, worker:
            task = await never.enqueue()
            group.start_soon(wait)
            await waiting.wait()
            await anyio.wait_all_tasks_blocked()


async def test_a_login_that_is_refused_for_a_while_ends_neither_worker_nor_producer(server: Server) -> None:
    async with open_place("server", server) as place:
        worker = place.worker()

        @worker.task
        async def good() -> int:
            return 1

        async with running(worker):
            await (await good.enqueue()).result(PATIENCE)  # so that there are subscriptions to lose
            server.command("ACL", "SETUSER", "default", "-subscribe")
            server.kill_clients("pubsub")
            assert (await (await good.enqueue()).result(PATIENCE)).result == 1  # found by looking
            server.command("ACL", "SETUSER", "default", "+subscribe")
            assert (await (await good.enqueue()).result(PATIENCE)).result == 1
