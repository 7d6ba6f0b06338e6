"""What is acknowledged survives what its level of durability promises, on real groups of servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import anyio
import pytest

from secure_queue import ConfigurationError, Unavailable
from secure_queue.durability import Durability
from secure_queue.local.groups import MASTER, ClusterGroup, SentinelGroup
from secure_queue.redis.slots import slot_of
from tests.ha.producers import LATER_S, QUEUE, Producer
from tests.servers import PATIENCE, Server, bundled_binary, eventually, happens, server_binary, started, valkey_binary
from tests.worker.places import running

pytestmark = pytest.mark.anyio

TAG = f"{QUEUE}/0".encode()


@pytest.fixture
def pair() -> Iterator[SentinelGroup]:
    """A primary with one replica."""
    with started(SentinelGroup(server_binary(), replicas=1)) as group:
        yield group


async def test_a_paused_primary_that_comes_back_loses_nothing(sentinels: SentinelGroup) -> None:
    """Row 2: the old primary goes on acknowledging for ten seconds, and all of that is thrown away."""
    producer = Producer(sentinels.url)
    async with producer.producing():
        await producer.goes_on()
        old = await sentinels.primary()
        old.pause()
        await producer.goes_on()
        old.resume()
        assert await old.command("SET", "zombie", "writable") == b"OK"
        await producer.goes_on()
        await eventually(lambda: _is_primary(sentinels, old.port, other=True))  # a majority knew it earlier
        await eventually(producer.nothing_is_lost)


async def test_a_planned_failover_with_a_backlog_loses_nothing(sentinels: SentinelGroup) -> None:
    """Row 5: one replica goes on confirming what the old primary writes, after the other one was promoted."""
    producer = Producer(sentinels.url)
    async with producer.producing():
        await producer.goes_on()
        old = await sentinels.primary()
        await sentinels.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        await eventually(lambda: _is_primary(sentinels, old.port, other=True))
        await happens(lambda: producer.worker.counters["replayed"])
        await producer.goes_on()
        await eventually(producer.nothing_is_lost)


async def test_a_killed_shard_loses_nothing(cluster: ClusterGroup) -> None:
    """Row 12: the promoted node has no replica, so what it acknowledges is called "primary" after a while."""
    producer = Producer(cluster.url, degrade_after=1)
    async with producer.producing():
        await producer.goes_on()
        (await cluster.owner(slot_of(TAG))).kill()
        await happens(lambda: producer.worker.counters["degraded"])
        await producer.goes_on()
        await eventually(producer.nothing_is_lost)


async def test_an_idle_worker_notices_that_its_primary_is_frozen(sentinels: SentinelGroup) -> None:
    producer = Producer(sentinels.url)
    async with running(producer.worker):
        await (await producer.later.enqueue()).result(timeout=PATIENCE)  # and from now on it blocks on a marker
        (await sentinels.primary()).pause()
        task = await producer.later.enqueue()
        assert (await task.result(timeout=PATIENCE)).success
        assert task.durability == "replicated"


@pytest.mark.parametrize("kind", ["real_sentinels", "real_cluster"])
async def test_groups_wait_for_a_replica_and_each_task_says_so(kind: str, request: pytest.FixtureRequest) -> None:
    producer = Producer(request.getfixturevalue(kind).url, queue_name=f"levels-{kind}")
    async with producer.worker:
        for level in ("primary", "replicated", "all"):
            assert (await producer.enqueue(durability=level)).durability is Durability(level)
        tasks = [producer.later.enqueue().start(durability=level) for level in ("all", "primary", "replicated", "all")]
        tasks.append(producer.later.enqueue())
        await producer.worker.enqueue_many(tasks)
        assert [task.durability for task in tasks] == ["all", "primary", "replicated", "all", "replicated"]
        assert [task.existed for task in tasks] == [False] * 5


async def test_connections_and_scripts_may_go_under_way(sentinels: SentinelGroup) -> None:
    """Rows 18 and 21, for calls that wait for their copies."""
    producer = Producer(sentinels.url, durability="all")
    async with producer.producing():
        for _ in range(3):
            await producer.goes_on(20)
            await sentinels.servers[0].command("SCRIPT", "FLUSH")
            await producer.goes_on(20)
            await sentinels.servers[0].command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await producer.goes_on(20)
        await eventually(producer.nothing_is_lost)


async def test_all_waits_for_every_replica_and_raises_at_the_deadline(sentinels: SentinelGroup) -> None:
    producer = Producer(sentinels.url, durability="all", deadline=1.5)
    async with producer.worker:
        assert (await producer.enqueue()).durability == "all"
        replica = sentinels.servers[2]
        replica.kill()
        task = producer.later.enqueue()
        with anyio.fail_after(PATIENCE / 4), pytest.raises(Unavailable, match=r"no confirmation .* 1 of 2 replicas"):
            await task
        assert task.durability is None
        assert (await producer.enqueue(durability="replicated")).durability == "replicated"
        replica.start()
        await eventually(lambda: _is_acknowledged(producer, "all"))
        await task
        assert task.durability == "all"


async def test_without_a_replica_tasks_are_acknowledged_at_less_and_say_so(
    pair: SentinelGroup, caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer(pair.url, degrade_after=1)
    strict = Producer(pair.url, on_degraded="raise", deadline=1.5, degrade_after=0.1)
    caplog.set_level(logging.WARNING, "secure_queue.redis")
    async with producer.worker, strict.worker:
        replica = pair.servers[1]
        replica.kill()
        assert (await producer.enqueue()).durability == "primary"
        with anyio.fail_after(PATIENCE / 2):  # a shortage that is known holds nobody up: not one second for each
            for _ in range(20):
                assert (await producer.enqueue()).durability == "primary"
        assert producer.worker.counters["degraded"] == 21
        with pytest.raises(Unavailable, match="0 of 1 replicas"):
            await strict.enqueue()
        replica.start()
        await eventually(lambda: _is_acknowledged(producer, "replicated"))
        told = [record.message for record in caplog.records if "durability 'replicated'" in record.message]
        assert len(told) == 2 and "cannot be kept" in told[0] and "is kept again" in told[1]
        assert await producer.lost() == set()


async def test_sentinels_that_are_down_are_not_a_partition_and_silent_ones_may_be(sentinels: SentinelGroup) -> None:
    """Rows 9 and 29: without a fresh majority an acknowledgement counts only if no failover can happen meanwhile."""
    producer = Producer(sentinels.url, deadline=1)
    async with producer.worker:
        assert (await producer.enqueue(durability="all")).durability == "all"
        for sentinel in sentinels.sentinels:
            sentinel.pause()
        await eventually(lambda: _is_refused(producer, "replicated"))
        with pytest.raises(Unavailable, match="not known to be the primary"):
            await producer.enqueue()
        assert (await producer.enqueue(durability="primary")).durability == "primary"
        for sentinel in sentinels.sentinels:
            sentinel.kill()
        await eventually(lambda: _is_acknowledged(producer, "replicated"))
        with pytest.raises(Unavailable, match="not known to be the primary"):
            await producer.enqueue(durability="all")
        for sentinel in sentinels.sentinels:
            sentinel.start()
        await eventually(lambda: _is_acknowledged(producer, "all"))


@pytest.mark.parametrize("wiped", [True, False], ids=["without its data", "with its data"])
async def test_a_restarted_server_is_given_what_it_may_have_lost(
    server: Server, wiped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 11: the producer is idle meanwhile, and nobody asks it for anything."""
    producer = Producer(f"unix://{server.unix_path}")
    async with running(producer.worker):
        tasks = [producer.later.enqueue().start(delay=LATER_S) for _ in range(1200)]
        await producer.worker.enqueue_many(tasks)
        producer.acknowledged |= {task.id for task in tasks}
        await happens(lambda: server.command("HEXISTS", f"sq:{{{QUEUE}/0}}:meta", "gen"))
        server.kill()
        if wiped:
            server.wipe()
        await anyio.to_thread.run_sync(server.start)
        await happens(lambda: producer.worker.counters["replayed"] == 1200)
        assert await producer.lost() == set()
        info = await tasks[0].info()
        assert info is not None and info.scheduled is not None
        assert abs((info.scheduled - datetime.now(UTC)).total_seconds() - LATER_S) < PATIENCE
        replaced = "the data of this queue was replaced"
        if wiped:
            await happens(lambda: producer.worker.counters["dataset_replaced"] == 1)
        assert any(replaced in record.message for record in caplog.records) is wiped


async def test_fsync_waits_for_the_disk() -> None:
    with Server(binary=valkey_binary(), appendfsync="everysec") as server:
        producer = Producer(f"unix://{server.unix_path}", durability="fsync")
        async with producer.worker:
            tasks = [producer.later.enqueue().start(delay=LATER_S) for _ in range(10)]
            await producer.worker.enqueue_many(tasks)
            assert {task.durability for task in tasks} == {"fsync"}
            server.flush_scripts()
            assert (await producer.enqueue()).durability == "fsync"
            assert server.calls("waitaof") >= 3  # once to see whether it can, and once for each call


@pytest.mark.parametrize(
    ("binary", "appendonly", "problem"),
    [(bundled_binary, "yes", "Redis 7.2 or later, or Valkey"), (valkey_binary, "no", "set appendonly yes")],
    ids=["Redis 6.2", "no file"],
)
async def test_a_server_that_cannot_say_what_its_disk_has_is_told_of_before_anything_is_written(
    binary: object, appendonly: str, problem: str
) -> None:
    assert callable(binary)
    with Server(binary=binary(), appendonly=appendonly) as server:
        producer = Producer(f"unix://{server.unix_path}")
        async with producer.worker:
            with pytest.raises(ConfigurationError, match=problem):
                await producer.enqueue(durability="fsync")
            assert await producer.worker.queue_size() == 0


async def test_a_single_url_may_have_replicas_too(pair: SentinelGroup) -> None:
    primary = pair.servers[0].server
    producer = Producer(f"redis://{primary.host}:{primary.port}", replicas=1)
    async with producer.worker:
        assert (await producer.enqueue()).durability == "primary"
        for level in ("replicated", "all"):
            assert (await producer.enqueue(durability=level)).durability == level


async def _is_acknowledged(producer: Producer, level: str) -> bool:
    try:
        return bool((await producer.enqueue(durability=level)).durability == level)
    except Unavailable:
        return False


async def _is_refused(producer: Producer, level: str) -> bool:
    try:
        await producer.enqueue(durability=level)
    except Unavailable:
        return True
    return False


async def _is_primary(group: SentinelGroup, port: int, *, other: bool) -> bool:
    return ((await group.primary()).port != port) is other
