"""Too much of something: values that are never transferred, tries without end, code at the server, the cost of sealing."""

from __future__ import annotations

import hmac
import os
from typing import Any

import pytest
import redis

from benchmarks.sealing import cost, microseconds
from secure_queue import Rejected, TaskFailed, Worker
from secure_queue.clock import now_ms
from secure_queue.payload.ciphers import Suite
from tests.servers import PATIENCE, Server, eventually
from tests.worker.places import PRIORITY, Place, open_place, running

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

MIB = 1 << 20
HUNDRED_MB = 100_000_000
A_LITTLE = 5_000_000
"""More than a worker and a client transfer in the time of a test."""


def make_worker(place: Place) -> tuple[Worker[Any], Any]:
    worker = place.worker()

    @worker.task(name="double", ttl=60)
    async def double(number: int) -> int:
        return 2 * number

    return worker, double


def sent(server: Server) -> int:
    """How many bytes the server has sent to anybody."""
    return int(server.command("INFO", "stats")["total_net_output_bytes"])


async def count_put_aside(place: Place, count: int) -> None:
    async def are_there() -> bool:
        return await place.link.command("XLEN", place.keys.quarantine) == count

    await eventually(are_there)


def put_large(server: Server, bucket: bytes, task_id: bytes, size: int) -> None:
    """Let the server make a value of its own, so that nothing goes over the wire."""
    server.command("EVAL", "redis.call('HSET', KEYS[1], ARGV[1], string.rep('x', ARGV[2]))", 1, bucket, task_id, size)


@pytest.mark.attack(8)
async def test_a_task_or_a_result_of_100_mb_is_never_transferred(server: Server) -> None:
    async with open_place("server", server) as place:
        worker, double = make_worker(place)
        async with running(worker):
            done = await double.enqueue(1)
            await done.result(timeout=PATIENCE)
            before = sent(server)
            put_large(server, place.keys.bucket(b"big"), b"big", HUNDRED_MB)
            await place.put_raw(b"big", None)
            await count_put_aside(place, 1)
            server.command("EVAL", "redis.call('SET', KEYS[1], string.rep('x', ARGV[1]))", 1,
                           place.keys.result(done.id.encode()), HUNDRED_MB)  # fmt: skip
            with pytest.raises(Rejected):
                await done.result(timeout=PATIENCE)
            with pytest.raises(Rejected):
                await done.status()
            assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
            assert sent(server) - before < A_LITTLE
        assert await place.quarantine() == {b"big": "too-large"}


@pytest.mark.attack(9)
async def test_a_hundred_large_values_at_once_are_put_aside_by_the_server(server: Server) -> None:
    ids = [b"big-%d" % number for number in range(100)]
    async with open_place("server", server) as place:
        worker, double = make_worker(place)
        for task_id in ids:
            put_large(server, place.keys.bucket(task_id), task_id, MIB + 1)
        before = sent(server)
        await place.link.command("RPUSH", place.keys.ready[PRIORITY], *ids)
        async with running(worker):
            assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
            await count_put_aside(place, len(ids))
        assert sent(server) - before < A_LITTLE
        assert await place.quarantine() == dict.fromkeys(ids, "too-large")


@pytest.mark.attack(30)
async def test_tries_that_are_set_back_again_and_again_end_with_the_lifetime_of_the_task(real_server: Server) -> None:
    """Tries are counted outside the envelope, its end stands inside: a task that never comes to its last try expires."""
    async with open_place("server", real_server) as place:
        worker = place.worker()
        tries: list[int] = []

        @worker.task(name="fail", max_tries=2, retry_policy=lambda _: 0.01, expire=3, ttl=60)
        async def fail() -> None:
            context = fail.context
            tries.append(context.tries)
            field = f"!r{context.task_id}"
            bucket = place.keys.bucket(context.task_id.encode())
            record: Any = await place.link.command("HGET", bucket, field)
            await place.link.command("HSET", bucket, field, b"0" + record[record.index(b":") :])
            raise ValueError

        async with running(worker):
            enqueued = now_ms()
            outcome = await (await fail.enqueue()).result(timeout=PATIENCE)
        assert isinstance(outcome.exception, TaskFailed)
        assert set(tries) == {1} and len(tries) > 2  # it worked, for some time
        assert outcome.finish_time - enqueued < 10_000


@pytest.mark.attack(39)
async def test_a_library_of_functions_at_the_server_has_no_effect(server: Server) -> None:
    """Nothing calls functions, so nobody can replace what is run; a server before 7.0 has none."""
    async with open_place("server", server) as place:
        worker, double = make_worker(place)
        async with running(worker):
            assert (await (await double.enqueue(1)).result(timeout=PATIENCE)).result == 2
            loaded = replace_functions(server)
            assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
        assert server.calls("fcall") == server.calls("fcall_ro") == 0
        info = server.command("INFO", "server")
        assert loaded is (int(info["redis_version"].split(".")[0]) >= 7)


def replace_functions(server: Server) -> bool:
    """Put hostile functions in the place of whatever is there; False if this server knows no functions."""
    for library in ("secure_queue", "streaq"):
        names = [f"{library}_{name}" for name in ("enqueue", "claim", "complete")]
        hostile = "".join(f"redis.register_function('{name}', function() return 'evil' end)\n" for name in names)
        try:
            server.command("FUNCTION", "LOAD", "REPLACE", f"#!lua name={library}\n{hostile}")
        except redis.exceptions.ResponseError as error:
            assert "unknown command" in str(error)
            return False
    return True


@pytest.mark.attack(66)
async def test_sealing_and_opening_200_bytes_cost_no_more_than_they_may(anyio_backend: object) -> None:
    """At most 4 and 6 µs where ``hmac.digest`` of as much takes 1.45; a slower or busier machine takes longer for all."""
    message, key = os.urandom(200), os.urandom(32)
    rounds = [
        (microseconds(lambda: hmac.digest(key, message, "sha256")), cost(Suite.HMAC_SHA256, 200)) for _ in range(2)
    ]
    pace = max(min(digest for digest, _ in rounds) / 1.45, 1)  # neighbours on the machine only ever add
    assert min(costs["seal"] for _, costs in rounds) < 4 * pace
    assert min(costs["open"] for _, costs in rounds) < 6 * pace
    assert cost(Suite.AES_256_GCM, 200)["least"] < 25 * pace
