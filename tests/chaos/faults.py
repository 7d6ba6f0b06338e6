"""The faults of the table: each is a small function that breaks something while the load goes on, and mends it again."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

import anyio

from secure_queue.clock import now_ms
from secure_queue.local.access import LOOPBACK
from secure_queue.local.layout import MASTER
from secure_queue.local.node import Node
from secure_queue.redis.scripts import load
from tests.chaos.case import Fault, Scene, came_true
from tests.chaos.crew import Member
from tests.chaos.places import KEYS, SLOT
from tests.chaos.proxy import Proxy

HEAL_S = 30.0
"""How long a topology may take to be complete again after a fault is over."""
MOVED_AT_ONCE = 100
"""Keys in one MIGRATE, as ``redis-cli --cluster reshard --cluster-pipeline 100`` has it."""
MIGRATE_MS = "5000"
SCRIPTS_OF_THE_LOAD = ("enqueue", "claim", "complete", "renew", "tick")


def primary_killed(back_after: float) -> Fault:
    """``kill -9`` of the primary, which comes back with its data."""

    async def strike(scene: Scene) -> None:
        await _kill_for(await scene.place.primary(), back_after)

    return Fault(f"kill -9 of the primary, back after {back_after:g} s", strike)


def replica_killed(back_after: float) -> Fault:
    """``kill -9`` of one replica."""

    async def strike(scene: Scene) -> None:
        replica, *_ = await scene.place.replicas()
        await _kill_for(replica, back_after)

    return Fault(f"kill -9 of a replica, back after {back_after:g} s", strike)


def primary_hangs(seconds: float) -> Fault:
    """SIGSTOP and SIGCONT: it keeps its connections, and comes back believing that it is primary."""

    async def strike(scene: Scene) -> None:
        await _pause_for([await scene.place.primary()], seconds)

    return Fault(f"SIGSTOP of the primary for {seconds:g} s", strike)


def primary_emptied(back_after: float) -> Fault:
    """The primary is killed and comes back without its data, before anybody has noticed."""

    async def strike(scene: Scene) -> None:
        primary = await scene.place.primary()
        primary.kill()
        shutil.rmtree(primary.folder / "appendonlydir", ignore_errors=True)
        for file in (*primary.folder.glob("*.aof"), *primary.folder.glob("*.rdb")):
            file.unlink()
        await anyio.sleep(back_after)
        await _start(primary)

    return Fault(f"kill -9 of the primary, back without data after {back_after:g} s", strike)


def promoted() -> Fault:
    """A planned failover: the sentinels, or a replica in a cluster, are told to change the primary."""

    async def strike(scene: Scene) -> None:
        if scene.place.sentinels:
            await scene.place.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        else:
            replica, *_ = await scene.place.replicas()
            await replica.command("CLUSTER", "FAILOVER")

    return Fault("planned failover", strike)


def with_min_replicas(fault: Fault) -> Fault:
    """*fault*, while the servers refuse writes that no replica would get."""

    async def strike(scene: Scene) -> None:
        for server in scene.place.servers:
            await server.command("CONFIG", "SET", "min-replicas-to-write", "1")
            await server.command("CONFIG", "SET", "min-replicas-max-lag", "2")
        await fault.strike(scene)

    return Fault(f"{fault.name}, min-replicas-to-write 1", strike)


def primary_killed_while_a_sentinel_hangs(back_after: float) -> Fault:
    """One sentinel keeps its connections and answers nothing; then the primary is killed."""

    async def strike(scene: Scene) -> None:
        primary = await scene.place.primary()
        scene.place.sentinels[0].pause()
        await _kill_for(primary, back_after)
        scene.place.sentinels[0].resume()

    return Fault(f"SIGSTOP of a sentinel, kill -9 of the primary, back after {back_after:g} s", strike)


def sentinels_killed(back_after: float) -> Fault:
    """All sentinels at once; nobody can say who is primary."""

    async def strike(scene: Scene) -> None:
        for sentinel in scene.place.sentinels:
            sentinel.kill()
        await anyio.sleep(back_after)
        for sentinel in scene.place.sentinels:
            await _start(sentinel)

    return Fault(f"kill -9 of all sentinels, back after {back_after:g} s", strike)


def sentinels_silenced(seconds: float) -> Fault:
    """The application reaches no sentinel, as in a partition; the servers go on, and could be replaced unseen."""

    async def strike(scene: Scene) -> None:
        for proxy in scene.place.proxies:
            proxy.fall_silent()
        scene.silence.append(monotonic())
        await anyio.sleep(seconds)
        scene.silence.append(monotonic())
        for proxy in scene.place.proxies:
            proxy.speak()

    return Fault(f"no sentinel can be reached for {seconds:g} s", strike)


def promoted_and_producer_killed(after: float) -> Fault:
    """A planned failover, and ``kill -9`` of the producer before it could enqueue anything again."""

    async def strike(scene: Scene) -> None:
        assert scene.crew.producer is not None
        await promoted().strike(scene)
        await anyio.sleep(after)
        scene.crew.producer.kill()

    return Fault(f"planned failover, kill -9 of the producer after {after:g} s", strike)


def connections_killed() -> Fault:
    """``CLIENT KILL`` of every client of every server."""

    async def strike(scene: Scene) -> None:
        await _ask_all(scene.place.servers, "CLIENT", "KILL", "TYPE", "normal")

    return Fault("CLIENT KILL on every server", strike)


def scripts_forgotten() -> Fault:
    """``SCRIPT FLUSH`` on every server."""

    async def strike(scene: Scene) -> None:
        await _ask_all(scene.place.servers, "SCRIPT", "FLUSH")

    return Fault("SCRIPT FLUSH on every server", strike)


def worker_killed() -> Fault:
    """``kill -9`` of one worker; another is started in its place, as a supervisor would."""

    async def strike(scene: Scene) -> None:
        _a_worker(scene).kill()
        await scene.crew.start_worker()

    return Fault("kill -9 of a worker", strike)


def worker_hangs(seconds: float) -> Fault:
    """SIGSTOP of one worker for longer than its leases, and SIGCONT."""

    async def strike(scene: Scene) -> None:
        worker = _a_worker(scene)
        worker.send(signal.SIGSTOP)
        await anyio.sleep(seconds)
        worker.send(signal.SIGCONT)

    return Fault(f"SIGSTOP of a worker for {seconds:g} s", strike)


def memory_full(seconds: float) -> Fault:
    """The memory limit of every server lies below what it uses."""

    async def strike(scene: Scene) -> None:
        await _ask_all(scene.place.servers, "CONFIG", "SET", "maxmemory", "1mb")
        await anyio.sleep(seconds)
        await _ask_all(scene.place.servers, "CONFIG", "SET", "maxmemory", "0")

    return Fault(f"maxmemory reached for {seconds:g} s", strike)


def disk_refuses(seconds: float) -> Fault:
    """The primary cannot write its snapshot, so it refuses writes (MISCONF), as with a full disk."""

    async def strike(scene: Scene) -> None:
        primary = await scene.place.primary()
        obstacle = primary.folder / "dump.rdb"
        obstacle.unlink(missing_ok=True)
        (obstacle / "something").mkdir(parents=True)  # a file cannot be renamed to that
        await primary.command("CONFIG", "SET", "save", "3600 1")
        await primary.command("BGSAVE")
        await _expect(lambda: _says(primary, b"rdb_last_bgsave_status:err"), "the disk did not refuse the snapshot")
        await anyio.sleep(seconds)
        shutil.rmtree(obstacle)
        await primary.command("BGSAVE")
        await _expect(lambda: _says(primary, b"rdb_last_bgsave_status:ok"), "the snapshot was not written")
        await primary.command("CONFIG", "SET", "save", "")

    return Fault(f"snapshots fail for {seconds:g} s (MISCONF)", strike)


def slot_moved(keys: int, seconds: float) -> Fault:
    """The queue's slot, filled up with *keys* further keys, moves to another primary within about *seconds*."""

    async def strike(scene: Scene) -> None:
        source = await scene.place.primary()
        target = await _another_primary(scene, source)
        await _fill(source, keys)
        await _move_slot(scene.place.servers, source, target, pause=seconds * MOVED_AT_ONCE / keys)

    return Fault(f"migration of the queue's slot with {keys:,} keys", strike)


def calls_cancelled(number: int) -> Fault:
    """The producer gives up *number* calls under way, while its connections are cut again and again."""

    async def strike(scene: Scene) -> None:
        producer = scene.crew.producer
        assert producer is not None
        for done in range(1, 11):
            producer.tell(f"cancel {number // 10}")
            await _ask_all(scene.place.servers, "CLIENT", "KILL", "TYPE", "normal")
            await _expect(lambda done=done: _has_cancelled(scene, done), "cancelled calls did not end")

    return Fault(f"{number} cancelled calls, connections cut", strike)


def replies_lost(times: int) -> Fault:
    """The proxy loses the reply to each script that the load needs, and its connection, *times* times."""

    async def strike(scene: Scene) -> None:
        (proxy,) = scene.place.proxies
        for done in range(1, times + 1):
            proxy.lose_replies({load(name).sha.encode(): name for name in SCRIPTS_OF_THE_LOAD})
            wanted = done * len(SCRIPTS_OF_THE_LOAD)
            await _expect(lambda wanted=wanted: _has_lost(proxy, wanted), f"not all was lost: {proxy.lost}")

    return Fault(f"the reply to each script is lost {times} times", strike)


def clock_jumps(seconds: float) -> Fault:
    """The queue's clock is ahead, as after a failover to a server whose clock is: it jumps, then it stands still."""

    async def strike(scene: Scene) -> None:
        primary = await scene.place.primary()
        ahead = str(now_ms() + round(seconds * 1000))
        await primary.command("HSET", KEYS.meta.decode(), "clock", ahead)

    return Fault(f"the queue's clock jumps {seconds:g} s ahead and stands still", strike)


def everything_restarted(pause: float) -> Fault:
    """Every process in turn is ended in good order and started again."""

    async def strike(scene: Scene) -> None:
        for node in (*scene.place.servers, *scene.place.sentinels):
            node.stop()
            await _start(node)
            await anyio.sleep(pause)
            await healed(scene)

    return Fault(f"restart of every server in turn, {pause:g} s apart", strike)


def random_faults(minutes: float, every: float, seed: int) -> Fault:
    """One fault after another, each drawn at random from what the topology can suffer and heal from."""

    async def strike(scene: Scene) -> None:
        draw = random.Random(seed)
        common: list[Fault] = [primary_killed(5), primary_hangs(5), promoted(), replica_killed(5)]
        common += [connections_killed(), scripts_forgotten(), worker_killed(), worker_hangs(8)]
        own = [sentinels_killed(3)] if scene.place.sentinels else [slot_moved(500, 1)]
        end = anyio.current_time() + minutes * 60
        while anyio.current_time() < end:
            begun = anyio.current_time()
            await draw.choice([*common, *own]).strike(scene)
            await healed(scene)
            await anyio.sleep_until(max(begun + every, anyio.current_time()))

    return Fault(f"a random fault every {every:g} s for {minutes:g} min (seed {seed})", strike)


async def healed(scene: Scene) -> None:
    """Wait until the topology is complete again."""

    async def is_well() -> bool:
        try:
            return await scene.place.is_well()
        except Exception:  # a server that starts refuses, or knows nobody yet
            return False

    await _expect(is_well, "the topology did not become healthy again")


async def _kill_for(node: Node, seconds: float) -> None:
    node.kill()
    await anyio.sleep(seconds)
    await _start(node)


async def _pause_for(nodes: Iterable[Node], seconds: float) -> None:
    for node in nodes:
        node.pause()
    await anyio.sleep(seconds)
    for node in nodes:
        node.resume()


async def _start(node: Node) -> None:
    node.start()
    await node.answering()


def _a_worker(scene: Scene) -> Member:
    return next(worker for worker in scene.crew.workers if not worker.was_killed)


async def _ask_all(nodes: Iterable[Node], *command: str) -> None:
    for node in nodes:
        await node.command(*command)


async def _expect(condition: Callable[[], Awaitable[bool]], problem: str) -> None:
    if not await came_true(condition, HEAL_S):
        raise AssertionError(problem)


async def _says(node: Node, line: bytes) -> bool:
    raw: bytes = await node.command("INFO", "persistence")
    return line in raw.splitlines()


async def _has_lost(proxy: Proxy, count: int) -> bool:
    return len(proxy.lost) >= count


async def _has_cancelled(scene: Scene, times: int) -> bool:
    assert scene.crew.producer is not None
    return scene.crew.producer.reader.count("cancelled") >= times


async def _another_primary(scene: Scene, source: Node) -> Node:
    ports = {int(owner[1]) for _, _, owner, *_ in await source.command("CLUSTER", "SLOTS")} - {source.port}
    return next(node for node in scene.place.servers if node.port in ports)


async def _fill(node: Node, keys: int) -> None:
    """Further keys in the queue's slot: a migration of the queue alone would be over at once."""
    names = [f"filler:{{{KEYS.tag.decode()}}}:{number}" for number in range(keys)]
    for first in range(0, keys, 500):
        await node.command("MSET", *(word for name in names[first : first + 500] for word in (name, "x" * 200)))


async def _move_slot(servers: Iterable[Node], source: Node, target: Node, *, pause: float) -> None:
    """What ``redis-cli --cluster reshard`` does, slowly."""
    slot = str(SLOT)
    names = {node: (await node.command("CLUSTER", "MYID")).decode() for node in (source, target)}
    await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    while keys := await source.command("CLUSTER", "GETKEYSINSLOT", slot, str(MOVED_AT_ONCE)):
        await source.command("MIGRATE", LOOPBACK, str(target.port), "", "0", MIGRATE_MS, "KEYS", *keys)
        await anyio.sleep(pause)
    for node in (target, source, *servers):
        if (await node.command("ROLE"))[0] == b"master":
            await node.command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
