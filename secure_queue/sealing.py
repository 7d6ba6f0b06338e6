"""Between the handle of a task and the sealed bytes that are stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secure_queue import names
from secure_queue.call_options import NOTHING_SAID
from secure_queue.clock import now_ms
from secure_queue.evidence import Renewed
from secure_queue.partitions import is_generated
from secure_queue.payload.codec import Codec, Purpose, Sealed
from secure_queue.payload.records import SealedKeys, TaskHead
from secure_queue.schedule_records import serialize
from secure_queue.settings import QueueSettings, lifetime_of
from secure_queue.storage import NewTask
from secure_queue.tasks import Task

_TASK = Purpose.TASK  # looked up once: a member of an Enum costs as much as a call


class Sealing:
    """Seals the tasks of one queue."""

    def __init__(self, codec: Codec, queue: QueueSettings) -> None:
        self._codec = codec
        self._priorities = queue.priorities
        self._lowest = queue.lowest_priority
        self._usual = queue.default_priority

    async def seal(self, task: Task[Any], *, keys: SealedKeys | None = None, longer_s: int = 0) -> NewTask:
        """Serialize the arguments and seal the task for its place, with its *keys* if it has any.

        It may be started *longer_s* seconds later than a task of its kind.
        """
        arguments = serialize(self._codec, task.args, task.kwargs)
        return self._seal(task, arguments if isinstance(arguments, bytes) else await arguments, keys, longer_s)

    async def seal_all(self, tasks: Sequence[Task[Any]]) -> list[NewTask]:
        """The same for several tasks; where the serializer is not async, without a coroutine for each."""
        if self._codec.serializer.is_async:
            return [await self.seal(task) for task in tasks]
        return [self._seal(task, serialize(self._codec, task.args, task.kwargs), None) for task in tasks]

    def _seal(self, task: Task[Any], arguments: bytes, keys: SealedKeys | None, longer_s: int = 0) -> NewTask:
        now = now_ms()
        task_id = task.id
        if not is_generated(task_id, task.jti):  # an id of one's own
            names.task_id(task_id)
        if task.at_ms and not task.delay_ms:
            delay, at = max(task.at_ms - now, 0), task.at_ms
        else:
            delay, at = task.delay_ms, -task.delay_ms
        priority = task.priority or self._usual
        own = None if priority == self._lowest else priority
        plain = own is None and task.options is NOTHING_SAID and task.lineage is None and keys is None
        head = b"" if plain else TaskHead.of(task.options, own, task.lineage, keys).pack()
        sealed = self._codec.seal(
            _TASK,
            task_id,
            task.fn_name,
            head,
            arguments,
            now_ms=now,
            jti=task.jti,
            delay_ms=delay,
            lifetime_s=lifetime_of(task.settings) + longer_s,
            encrypt=task.settings.encrypt,
            compress=task.settings.compress,
        )
        return NewTask(task_id.encode(), sealed, at, priority)

    def seal_again(self, task: Sealed, *, now_ms: int) -> Renewed:
        """The same enqueue under a fresh seal with a new lifetime; *task*, whose arguments stay closed, must be genuine."""
        sealed = self._codec.seal(
            _TASK,
            task.task_id,
            task.function,
            task.head,
            task.value,
            now_ms=now_ms,
            jti=task.jti,  # handles and idempotency keys stay good
            lifetime_s=self._codec.habits.lifetime_s,
            serializer_id=task.serializer_id,
            encrypt=task.is_encrypted or None,
        )
        head = TaskHead.unpack(task.head)
        priority = head.priority if head.priority in self._priorities else self._lowest
        scope, _, unique = (head.unique or "").partition(":")
        return Renewed(task.task_id.encode(), sealed, priority, unique.encode(), scope, (head.line or "").encode())
