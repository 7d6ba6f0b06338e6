"""Where the queue lives, and the death of its primary in the middle of the main job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import quote

import anyio

from secure_queue.clock import monotonic
from secure_queue.demo.job import Advance, enqueue, gather
from secure_queue.demo.tasks import FileFacts, Tasks
from secure_queue.local.groups import ClusterGroup, SentinelGroup, until_copied
from secure_queue.local.layout import MASTER
from secure_queue.local.node import Node
from secure_queue.redis.slots import slot_of
from secure_queue.tasks import Task, TaskResult

CALM_MS = "60000"


class Topology(Enum):
    """What the demo can run on."""

    EMBEDDED = "embedded"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Loss:
    """The primary that was killed, the one that took its place, and the seconds until a new task was acknowledged."""

    killed: str
    successor: str
    done_before: int
    enqueued_after: int
    outage_s: float


class Outage:
    """Kills the primary that holds the queue of the hash tag *tag*."""

    def __init__(self, group: SentinelGroup | ClusterGroup, tag: bytes) -> None:
        self._group = group
        self._slot = slot_of(tag)

    async def primary(self) -> Node:
        """The server that holds the queue now."""
        if isinstance(self._group, SentinelGroup):
            return await self._group.primary()
        return await self._group.owner(self._slot)

    async def everything_is_copied(self) -> None:
        """Wait until every replica has what the primary has; raises ``EmbeddedServerError`` if that does not happen."""
        primary = await self.primary()
        copies = len(self._group.servers) - 1 if isinstance(self._group, SentinelGroup) else 1
        await until_copied(primary, copies)

    async def is_over(self, victim: Node) -> None:
        """Let nobody take a slow server for a dead one any more: what follows is not about failovers."""
        if isinstance(self._group, SentinelGroup):
            for sentinel in self._group.sentinels:
                await sentinel.command("SENTINEL", "SET", MASTER, "down-after-milliseconds", CALM_MS)
            return
        for node in self._group.nodes:
            if node is not victim:
                await node.command("CONFIG", "SET", "cluster-node-timeout", CALM_MS)


@asynccontextmanager
async def ground(topology: Topology, place: Path, tag: bytes) -> AsyncIterator[tuple[str, Outage | None]]:
    """The URL of fresh servers in *place*, and what can go wrong with them."""
    if topology is Topology.EMBEDDED:
        yield f"embedded://{quote(str(place / 'server'))}", None
        return
    from secure_queue.redis.embedded import find_binary  # needs POSIX locks

    kind = SentinelGroup if topology is Topology.SENTINEL else ClusterGroup
    group = kind(find_binary(), place / "servers")
    try:
        await group.start()
        yield group.url, Outage(group, tag)
    finally:
        group.close()


async def gather_through(
    outage: Outage, tasks: Tasks, enqueued: Sequence[Task[FileFacts]], late: Sequence[Path], advance: Advance
) -> tuple[list[TaskResult[FileFacts]], Loss]:
    """Gather all results; when half of *enqueued* are there the primary is killed and the files *late* are enqueued."""
    half, done, reached = (len(enqueued) + 1) // 2, 0, anyio.Event()
    losses: list[Loss] = []
    added: list[Task[FileFacts]] = []

    def count(number: int) -> None:
        nonlocal done
        done += number
        advance(number)
        if done >= half:
            reached.set()

    async def strike() -> None:
        await reached.wait()
        loss, into_it = await _strike(outage, tasks, late, done)
        losses.append(loss)
        added.extend(into_it)

    await outage.everything_is_copied()
    async with anyio.create_task_group() as group:
        group.start_soon(strike)
        results = await gather(enqueued, count)
    results += await gather(added, advance)
    return results, losses[0]


async def _strike(outage: Outage, tasks: Tasks, late: Sequence[Path], done: int) -> tuple[Loss, list[Task[FileFacts]]]:
    victim = await outage.primary()
    victim.kill()
    began = monotonic()
    first, _ = await enqueue(tasks, late[:1], _uncounted)
    outage_s = monotonic() - began
    others, _ = await enqueue(tasks, late[1:], _uncounted)
    successor = await outage.primary()
    await outage.is_over(victim)
    return Loss(str(victim.server), str(successor.server), done, len(late), outage_s), first + others


def _uncounted(_: int) -> None:
    """These tasks are counted when they have run."""


def problems_of(loss: Loss | None) -> list[str]:
    """What speaks against "the primary died, another one took its place, and work was accepted meanwhile"."""
    if loss is None:
        return []
    problems = []
    if loss.successor == loss.killed:
        problems.append(f"no other server has taken the place of {loss.killed}")
    if not loss.enqueued_after:
        problems.append("nothing was enqueued into the outage, so it proves little; take a folder with more files")
    return problems
