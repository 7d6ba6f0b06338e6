"""Servers and sentinels die, hang, forget, fill up, or change places."""

from __future__ import annotations

import shutil
from time import monotonic

import anyio

from secure_queue.clock import now_ms
from secure_queue.local.layout import MASTER
from secure_queue.local.node import Node
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.slots import slot_of
from tests.chaos.app import QUEUE
from tests.chaos.case import Fault, Scene
from tests.chaos.mending import ask_all, expect, healed, kill_for, pause_for, start
from tests.chaos.places import KEYS


def primary_killed(back_after: float) -> Fault:
    """``kill -9`` of the primary, which comes back with its data."""

    async def strike(scene: Scene) -> None:
        await kill_for(await scene.place.primary(), back_after)

    return Fault(f"kill -9 of the primary, back after {back_after:g} s", strike)


def primary_of_partition_killed(partition: int, back_after: float) -> Fault:
    """``kill -9`` of the server that holds *partition*; those of the others live on if they are others."""

    async def strike(scene: Scene) -> None:
        await kill_for(await scene.place.primary(_slot_of(partition)), back_after)

    return Fault(f"kill -9 of the primary of partition {partition}, back after {back_after:g} s", strike)


def _slot_of(partition: int) -> int:
    return slot_of(QueueKeys(QUEUE, ["normal"], partition).tag)


def replica_killed(back_after: float) -> Fault:
    """``kill -9`` of one replica."""

    async def strike(scene: Scene) -> None:
        replica, *_ = await scene.place.replicas()
        await kill_for(replica, back_after)

    return Fault(f"kill -9 of a replica, back after {back_after:g} s", strike)


def primary_hangs(seconds: float) -> Fault:
    """SIGSTOP and SIGCONT: it keeps its connections, and comes back believing that it is primary."""

    async def strike(scene: Scene) -> None:
        await pause_for([await scene.place.primary()], seconds)

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
        await start(primary)

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
        await kill_for(primary, back_after)
        scene.place.sentinels[0].resume()

    return Fault(f"SIGSTOP of a sentinel, kill -9 of the primary, back after {back_after:g} s", strike)


def sentinels_killed(back_after: float) -> Fault:
    """All sentinels at once; nobody can say who is primary."""

    async def strike(scene: Scene) -> None:
        for sentinel in scene.place.sentinels:
            sentinel.kill()
        await anyio.sleep(back_after)
        for sentinel in scene.place.sentinels:
            await start(sentinel)

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


def shard_lost(partition: int, seconds: float) -> Fault:
    """``kill -9`` of the primary and the replica that hold *partition*."""

    async def strike(scene: Scene) -> None:
        slot = _slot_of(partition)
        primary = await scene.place.primary(slot)
        lost = [primary, *await scene.place.replicas(slot)]
        for node in lost:
            node.kill()
        await anyio.sleep(seconds)
        for node in lost:
            await start(node)
        await healed(scene)

    return Fault(f"kill -9 of the shard of partition {partition}, primary and replica, for {seconds:g} s", strike)


def connections_killed() -> Fault:
    """``CLIENT KILL`` of every client of every server."""

    async def strike(scene: Scene) -> None:
        await ask_all(scene.place.servers, "CLIENT", "KILL", "TYPE", "normal")

    return Fault("CLIENT KILL on every server", strike)


def scripts_forgotten() -> Fault:
    """``SCRIPT FLUSH`` on every server."""

    async def strike(scene: Scene) -> None:
        await ask_all(scene.place.servers, "SCRIPT", "FLUSH")

    return Fault("SCRIPT FLUSH on every server", strike)


def memory_full(seconds: float) -> Fault:
    """The memory limit of every server lies below what it uses."""

    async def strike(scene: Scene) -> None:
        await ask_all(scene.place.servers, "CONFIG", "SET", "maxmemory", "1mb")
        await anyio.sleep(seconds)
        await ask_all(scene.place.servers, "CONFIG", "SET", "maxmemory", "0")

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
        await expect(lambda: _says(primary, b"rdb_last_bgsave_status:err"), "the disk did not refuse the snapshot")
        await anyio.sleep(seconds)
        shutil.rmtree(obstacle)
        await primary.command("BGSAVE")
        await expect(lambda: _says(primary, b"rdb_last_bgsave_status:ok"), "the snapshot was not written")
        await primary.command("CONFIG", "SET", "save", "")

    return Fault(f"snapshots fail for {seconds:g} s (MISCONF)", strike)


async def _says(node: Node, line: bytes) -> bool:
    raw: bytes = await node.command("INFO", "persistence")
    return line in raw.splitlines()


def clock_jumps(seconds: float) -> Fault:
    """The queue's clock is ahead, as after a failover to a server whose clock is: it jumps, then it stands still."""

    async def strike(scene: Scene) -> None:
        primary = await scene.place.primary()
        ahead = str(now_ms() + round(seconds * 1000))
        await primary.command("HSET", KEYS.meta.decode(), "clock", ahead)

    return Fault(f"the queue's clock jumps {seconds:g} s ahead and stands still", strike)
