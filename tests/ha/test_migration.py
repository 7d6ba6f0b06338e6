"""A slot moves to another shard while its queue is in use: calls wait, and nothing is lost."""

from __future__ import annotations

import pytest

from secure_queue.local.groups import ClusterGroup
from secure_queue.local.node import LOOPBACK, Node
from secure_queue.redis.slots import slot_of
from tests.ha.producers import QUEUE, Producer
from tests.servers import eventually

pytestmark = pytest.mark.anyio

SLOT = slot_of(f"{QUEUE}/0".encode())


async def test_a_slot_that_moves_under_load_loses_nothing(cluster: ClusterGroup) -> None:
    """Rows 15 and 16: the scripts declare every key, so none is created a second time on the way."""
    producer = Producer(cluster.url)
    async with producer.producing():
        await producer.goes_on()
        source = await cluster.owner(SLOT)
        target = next(node for node in cluster.primaries if node is not source)
        await move(cluster, source, target)
        await producer.goes_on()
        assert await cluster.owner(SLOT) is target
        await eventually(producer.nothing_is_lost)
        assert (await producer.enqueue()).durability == "replicated"


async def move(cluster: ClusterGroup, source: Node, target: Node) -> None:
    """As ``redis-cli --cluster reshard`` does it."""
    slot, names = str(SLOT), {node: (await node.command("CLUSTER", "MYID")).decode() for node in (source, target)}
    await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    while keys := await source.command("CLUSTER", "GETKEYSINSLOT", slot, "100"):
        await source.command("MIGRATE", LOOPBACK, str(target.port), "", "0", "5000", "KEYS", *_texts(keys))
    for node in (target, source, *cluster.primaries):
        await node.command("CLUSTER", "SETSLOT", slot, "NODE", names[target])


def _texts(keys: list[bytes]) -> list[str]:
    return [key.decode() for key in keys]
