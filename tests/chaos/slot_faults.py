"""The queue's slot moves to another primary, key by key."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from secure_queue.local.access import LOOPBACK
from secure_queue.local.node import Node
from secure_queue.redis.dialing import open_pool
from secure_queue.redis.informants import Informant
from tests.chaos.case import Fault, Scene
from tests.chaos.places import KEYS, SLOT

MOVED_AT_ONCE = 100
"""Keys in one MIGRATE, as ``redis-cli --cluster reshard --cluster-pipeline 100`` has it."""
MIGRATE_MS = "5000"


def slot_moved(keys: int, seconds: float) -> Fault:
    """The queue's slot, filled up with *keys* further keys, moves to another primary within about *seconds*."""

    async def strike(scene: Scene) -> None:
        source = await scene.place.primary()
        target = await _another_primary(scene, source)
        await _fill(source, keys)
        count = await source.command("CLUSTER", "COUNTKEYSINSLOT", str(SLOT))  # results that are kept are keys too
        await _move_slot(scene.place.servers, source, target, pause=seconds * MOVED_AT_ONCE / count)

    return Fault(f"migration of the queue's slot with {keys:,} keys", strike)


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
    informant = Informant(source.server)  # one connection for all of it: on a busy machine a new one takes its time
    async with open_pool(informant.pool):
        while keys := await informant.ask("CLUSTER", "GETKEYSINSLOT", slot, str(MOVED_AT_ONCE)):
            await informant.ask("MIGRATE", LOOPBACK, str(target.port), "", "0", MIGRATE_MS, "KEYS", *keys)
            await anyio.sleep(pause)
    for node in (target, source, *servers):
        if (await node.command("ROLE"))[0] == b"master":
            await node.command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
