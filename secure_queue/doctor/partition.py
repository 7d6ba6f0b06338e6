"""Looks at one partition of the queue: who holds it, how it stands, what is stored; and has a task tried there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

import anyio

from secure_queue.audit.classify import Classifier, Stored
from secure_queue.audit.findings import Kind as Stands
from secure_queue.audit.scan import scan
from secure_queue.clock import now_ms
from secure_queue.doctor.facts import NodeFacts, PartitionFacts, QueueFacts, Role, StoredFacts
from secure_queue.doctor.rehearse import STEP_S, rehearse
from secure_queue.errors import SecureQueueError, Unavailable
from secure_queue.names import printable
from secure_queue.redis.connect import open_link
from secure_queue.redis.dialing import REPLY_TIMEOUT, open_pool
from secure_queue.redis.informants import Informant
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Argument, Link
from secure_queue.redis.retrying import is_server_fault
from secure_queue.redis.sentinels import SentinelLocator
from secure_queue.redis.slots import ClusterLocator, ClusterMap, slot_of
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Cluster, Sentinel, Standalone

T = TypeVar("T")
Reachable: TypeAlias = Standalone | Sentinel | Cluster

LOOK_S: Final = 5.0
"""A look, not an audit: long enough to meet a key that is missing here."""


async def look_at(
    topology: Reachable, keys: QueueKeys, classifier: Classifier | None, nodes: list[NodeFacts]
) -> PartitionFacts:
    """All about the partition of *keys*; *nodes* tell how many replicas its primary has."""
    tag, prefix = keys.tag.decode(), keys.prefix.decode()
    found = PartitionFacts(tag, prefix, own_slot=slot_of(keys.tag))
    if isinstance(topology, Standalone) and nodes[0].told.get("info.cluster_enabled") == "1":
        return replace(found, problem="this URL leads to one node of a cluster only")
    if isinstance(topology, Standalone) and nodes[0].told.get("info.redis_mode") == "sentinel":
        return replace(found, problem="this URL leads to a sentinel")
    primary, problem = await _primary(topology, keys.tag)
    if primary is None:
        return replace(found, problem=problem)
    slot = await _slot(primary, keys) if isinstance(topology, Cluster) else None
    found = replace(found, primary=str(primary), server_slot=slot)
    async with open_link(topology, tag=keys.tag, deadline=STEP_S) as link:
        if (away := await _away(link)) is not None:
            return replace(found, problem=away)
        queue, no_queue = await _tried(_queue(link, keys, classifier))
        stored, _ = await _tried(_stored(link, keys, classifier)) if classifier is not None else (None, "")
        trial, no_trial = await _tried(rehearse(link, keys, primary, _replicas(nodes, str(primary))))
    return replace(found, queue=queue, stored=stored, rehearsal=trial, problem=no_trial or no_queue)


async def _away(link: Link) -> str | None:
    """Why the primary does not answer; what it refuses is not meant here."""
    try:
        await link.command("PING")
    except Unavailable as error:
        return printable(str(error), 300)
    except SecureQueueError:
        return None
    return None


async def _tried(work: Awaitable[T]) -> tuple[T | None, str]:
    """What *work* gives, or why it gives nothing."""
    try:
        return await work, ""
    except SecureQueueError as error:
        return None, printable(str(error), 300)


async def _primary(topology: Reachable, tag: bytes) -> tuple[Standalone | None, str]:
    """Who holds the partition, or why that is not known."""
    if isinstance(topology, Standalone):
        return topology, ""
    source = SentinelLocator(topology) if isinstance(topology, Sentinel) else ClusterMap(topology)
    async with source:
        locator = ClusterLocator(source, tag) if isinstance(source, ClusterMap) else source
        try:
            return (await locator.locate()).primary, ""
        except Exception as error:
            if not is_server_fault(error) and not isinstance(error, SecureQueueError):
                raise
            return None, printable(str(error), 300)


async def _slot(primary: Standalone, keys: QueueKeys) -> int | None:
    """The slot of one of the keys by the word of the server."""
    informant = Informant(primary, REPLY_TIMEOUT)
    try:
        async with open_pool(informant.pool):
            return int(await informant.ask("CLUSTER", "KEYSLOT", keys.meta.decode()))
    except Exception as error:
        if not is_server_fault(error):
            raise
        return None


def _replicas(nodes: list[NodeFacts], primary: str) -> int:
    told = [node.told for node in nodes if node.name == primary and node.role is Role.PRIMARY]
    return int(told[0].get("info.connected_slaves", 0)) if told else 0


async def _queue(link: Link, keys: QueueKeys, classifier: Classifier | None) -> QueueFacts:
    """Counts and ages, by commands that change nothing: not even a key of a wrong type is moved aside."""
    ready = [await _number(link, "LLEN", key) for key in keys.ready.values()]
    workers = await _number(link, "ZCARD", keys.workers)
    ages = [await _oldest(link, keys, key, classifier) for key in keys.ready.values()] if classifier is not None else []
    oldest = max((age for age in ages if age is not None), default=None)
    first: Any = await link.command("ZRANGE", keys.leases, 0, 0, "WITHSCORES")
    overdue = await _server_ms(link) - int(float(first[1])) if first else None
    return QueueFacts(workers, sum(ready), oldest, overdue if overdue is not None and overdue > 0 else None)


async def _number(link: Link, *parts: Argument) -> int:
    reply = await link.command(*parts)
    return reply if isinstance(reply, int) else 0


async def _server_ms(link: Link) -> int:
    time: Any = await link.command("TIME")
    return int(time[0]) * 1000 + int(time[1]) // 1000


async def _oldest(link: Link, keys: QueueKeys, ready: bytes, classifier: Classifier) -> int | None:
    """How long ago the first task of a ready list was enqueued, if it is genuine."""
    task_id = await link.command("LINDEX", ready, 0)
    if not isinstance(task_id, bytes):
        return None
    sealed = await RedisStorage(link, keys).scannable().peek(keys.bucket(task_id), task_id)
    if not isinstance(sealed, bytes):
        return None
    found = classifier.classify(Stored(Stands.TASK, task_id, sealed), now_ms=now_ms())
    return now_ms() - found.issued_ms if found.genuine and found.issued_ms is not None else None


async def _stored(link: Link, keys: QueueKeys, classifier: Classifier) -> StoredFacts:
    """A look at what is stored, as an audit does it; what stands in the quarantine has been dealt with."""
    codes: Counter[str] = Counter()
    with anyio.move_on_after(LOOK_S) as limit:
        async for finding in scan([RedisStorage(link, keys).scannable()], classifier):
            if finding.kind is not Stands.QUARANTINED:
                codes[finding.code.value] += 1
    return StoredFacts(codes.total(), codes, whole=not limit.cancelled_caught)
