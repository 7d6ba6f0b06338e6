"""What is due sooner than workers look at it by themselves runs in time: calls, and retries."""

from __future__ import annotations

from typing import cast

import anyio
import pytest

from secure_queue import Retry
from secure_queue.execution import lanes
from tests.connections.scripts import script
from tests.servers import PATIENCE
from tests.worker.places import PRIORITY, Place, running

pytestmark = pytest.mark.anyio

SOON_S = 0.1

# A task is ready and another one is due; the one worker that is woken is told of the latter.
BOTH = script("""
for i = 1, 2 do redis.call('HSET', KEYS[i], ARGV[2 * i - 1], ARGV[2 * i]) end
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], 1, ARGV[3])
return redis.call('ZADD', KEYS[5], 1, 'soon')
""")


async def test_a_short_delay_does_not_wait_for_the_next_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "INTERVAL_S", 600.0)
    worker = place.worker()

    @worker.task
    async def call(kind: str) -> str:
        return kind

    @worker.task(unique="queued")
    async def once(kind: str) -> str:
        return kind

    @worker.task
    async def again() -> int:
        if again.context.tries == 1:
            raise Retry(delay=SOON_S)
        return again.context.tries

    async with running(worker):
        for kind in ("alone", "beside one that runs at once"):
            later = await call.enqueue(kind).start(delay=SOON_S)
            if kind != "alone":
                await call.enqueue("at once")
            assert (await later.result(PATIENCE)).result == kind
        keyed = await once.enqueue("with a key").start(delay=SOON_S)
        assert (await keyed.result(PATIENCE)).result == "with a key"
        assert (await (await again.enqueue()).result(PATIENCE)).result == 2


async def test_who_is_told_of_a_due_task_looks_for_it_also_if_another_one_is_ready(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "INTERVAL_S", 600.0)
    worker = place.worker()

    @worker.task
    async def call() -> None: ...

    async with worker:
        tasks = [await call.enqueue(), await call.enqueue().start(delay=0.001)]
    stored: list[bytes] = []
    for name in [task.id.encode() for task in tasks]:
        sealed = await place.link.command("HGET", place.keys.bucket(name), name)
        stored += [name, cast("bytes", sealed)]
    await place.link.command("DEL", *place.keys.both, *map(place.keys.bucket, stored[::2]))
    async with running(worker):
        assert (await (await call.enqueue()).result(PATIENCE)).success
        await anyio.wait_all_tasks_blocked()  # the worker waits to be woken
        keys = [
            *map(place.keys.bucket, stored[::2]),
            place.keys.ready[PRIORITY],
            place.keys.due[PRIORITY],
            place.keys.wake,
        ]
        await place.link.run(BOTH, keys, stored, PATIENCE)
        for task in tasks:
            assert (await task.result(PATIENCE)).success
