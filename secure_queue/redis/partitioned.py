"""The partitions of one queue behind open links."""

from __future__ import annotations

from collections import Counter

from anyio.abc import TaskGroup

from secure_queue.redis.connect import Links
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.storage import RedisStorage
from secure_queue.settings import QueueSettings


class RedisStorages:
    """Implements ``Storages``; the background work of each partition goes on in *group*."""

    def __init__(
        self,
        links: Links,
        queue: QueueSettings,
        group: TaskGroup,
        *,
        settle_s: float,
        deadline_s: float,
        counters: Counter[str],
    ) -> None:
        self._links = links
        self._queue = queue
        self._group = group
        self._settle_s = settle_s
        self._deadline_s = deadline_s
        self._counters = counters
        self._open: dict[int, RedisStorage] = {}

    def at(self, partition: int) -> RedisStorage:
        found = self._open.get(partition)
        if found is None:
            found = self._open[partition] = self._made(keys_of(self._queue, partition))
            self._group.start_soon(found.replay.run)
        return found

    def _made(self, keys: QueueKeys) -> RedisStorage:
        return RedisStorage(
            self._links(keys.tag),
            keys,
            settle_s=self._settle_s,  # as long as a lease may hold
            deadline_s=self._deadline_s,
            counters=self._counters,
            ageing_ms=self._queue.ageing_ms,
        )


def keys_of(queue: QueueSettings, partition: int) -> QueueKeys:
    """The keys of one partition."""
    return QueueKeys(queue.queue_name, queue.priorities, partition)
