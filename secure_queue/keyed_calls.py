"""Enqueues tasks that have keys: each in the partition of its key, unless another one of the key stands in its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from secure_queue.client import Client
from secure_queue.durability import Durability
from secure_queue.errors import ConfigurationError, DuplicateTask, Rejected, SecureQueueError
from secure_queue.keyed import Kept, Keyed
from secure_queue.keying import Keying, Keys, OnConflict, keys_of
from secure_queue.names import stored_task_id
from secure_queue.partitions import generated_id
from secure_queue.payload.records import SealedKeys
from secure_queue.storage import NewTask
from secure_queue.tasks import Task


class KeyedCalls:
    """Enqueues tasks with keys into the queue that *client* is open for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._routes = client.routes

    async def enqueue(self, tasks: Sequence[Task[Any]]) -> None:
        """Enqueue *tasks*, those of each partition and level in their order.

        Raises ``DuplicateTask`` after all that could be done was done, if a call wants that.
        """
        problems: list[SecureQueueError] = []
        groups: dict[tuple[Durability, int], list[tuple[Task[Any], Keyed]]] = defaultdict(list)
        for task in tasks:
            partition, keyed = await self._made(task)
            groups[self._routes.level(task.wanted), partition].append((task, keyed))
        for level in dict.fromkeys(level for level, _ in groups):
            some = {partition: group for (of_level, partition), group in groups.items() if of_level is level}
            answers, failed = await self._routes.enqueue_keyed(
                level, {partition: [keyed for _, keyed in group] for partition, group in some.items()}
            )
            problems += failed.values()
            for partition, kept in answers.items():
                problems += _note([task for task, _ in some[partition]], kept)
        for problem in problems:
            raise problem

    async def _made(self, task: Task[Any]) -> tuple[int, Keyed]:
        keying = task.settings.keying
        if keying.quiet_s and (task.delay_ms or task.at_ms):
            raise ConfigurationError("debounce= says when a call runs; leave delay= and schedule= out")
        keys = keys_of(keying, self._client.queue_name, task.fn_name, task.args, task.kwargs)
        partition = await self._partition(task, keys)
        return partition, _keyed(await self._client.sealing.seal(task, keys=_sealed(keying, keys)), keying, keys)

    async def _partition(self, task: Task[Any], keys: Keys) -> int:
        """That of the keys, which a new id then names."""
        partition = await self._routes.of_key(keys.checksums)
        if task._id is None:
            task.id = generated_id(task.jti, partition)
        if await self._routes.for_new(task.id) != partition:
            raise ConfigurationError(
                "in a queue with several partitions the key of a call decides its id: give none, and ask for it afterwards"
            )
        return partition


def _sealed(keying: Keying, keys: Keys) -> SealedKeys:
    """What is sealed with a call, so that nobody but its sender decides of which key it is when it is put back one day."""
    unique = f"{keying.scope or ''}:{keys.unique.decode()}" if keys.unique else None
    return SealedKeys(unique, keys.line.decode() or None)


def _keyed(new: NewTask, keying: Keying, keys: Keys) -> Keyed:
    return Keyed(
        new.task_id,
        new.sealed,
        _ms(-keying.quiet_s) if keying.quiet_s else new.at_ms,
        new.priority,
        keys.unique,
        "" if keying.scope is None else keying.scope.value,
        _ms(keying.window_s or keying.throttle_s),
        keying.on_conflict is OnConflict.REPLACE or keying.quiet_s > 0,
        _ms(keying.longest_s),
        keys.line,
    )


def _ms(duration_s: float) -> int:
    return round(duration_s * 1000)


def _note(tasks: Sequence[Task[Any]], answers: Sequence[Kept]) -> list[SecureQueueError]:
    """Tell the handles; what is wrong with those that wanted to hear of another task."""
    problems: list[SecureQueueError] = []
    for task, (new, untrusted_other, durability) in zip(tasks, answers, strict=True):
        other = None if untrusted_other is None else stored_task_id(untrusted_other)
        if untrusted_other is not None and other is None:
            problems.append(Rejected("bad-id"))
            continue
        if other is not None and task.settings.keying.on_conflict is OnConflict.RAISE:
            problems.append(DuplicateTask(other))
            continue
        task.existed, task.durability, task.duplicate_of = not new, durability, other
        if other is not None:
            task.id = other
    return problems
