"""The producer's side: seal and enqueue tasks, wait for results, look tasks up, abort them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Any, TypeVar, cast

import anyio

from secure_queue import names
from secure_queue.background import beside
from secure_queue.clock import now_ms
from secure_queue.coalesce import Coalescer
from secure_queue.errors import (
    Rejected,
    ResultTimeout,
    ResultUnavailable,
    TaskNotFound,
)
from secure_queue.inbox import Inbox
from secure_queue.outcomes import abort_mark, aborted_result, read_result
from secure_queue.payload.codec import Codec, Sealed
from secure_queue.payload.envelope import Purpose
from secure_queue.payload.records import TaskHead
from secure_queue.retry import seconds
from secure_queue.settings import DEFAULT_LIFETIME_S, QueueSettings
from secure_queue.storage import UNKNOWN, NewTask, Record, Standing, Storage
from secure_queue.tasks import Task, TaskInfo, TaskResult, TaskStatus

R = TypeVar("R")

ENQUEUE_DEADLINE_S = 20.0
ABORTED_TTL_MS = 300_000
BATCH = 500

_STATUS = {
    Standing.NOT_FOUND: TaskStatus.NOT_FOUND,
    Standing.QUEUED: TaskStatus.QUEUED,
    Standing.SCHEDULED: TaskStatus.SCHEDULED,
    Standing.RUNNING: TaskStatus.RUNNING,
    Standing.DEAD: TaskStatus.FAILED,
}


class Client:
    """Everything that can be asked about tasks of one queue; open it with ``open_client``."""

    def __init__(self, storage: Storage, codec: Codec, queue: QueueSettings, known_errors: dict[str, type]) -> None:
        self.storage = storage
        self._codec = codec
        self._queue = queue
        self._known_errors = known_errors
        self._singles: Coalescer[NewTask, bool] = Coalescer(self._send, limit=BATCH)
        self.inbox = Inbox(storage, os.urandom(8).hex())

    async def run(self) -> None:
        """The background work of the client, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._singles.run)
            group.start_soon(self.inbox.looks.run)
            group.start_soon(self.inbox.run)

    async def enqueue_many(self, tasks: Sequence[Task[Any]]) -> None:
        """Enqueue all of *tasks*, in order, in as few calls as possible; one task is one call or a part of one."""
        if len(tasks) == 1:
            tasks[0].existed = not await self._singles.ask(await self.seal(tasks[0]))
            return
        sealed = [await self.seal(task) for task in tasks]
        for task, new in zip(tasks, await self._send(sealed), strict=True):
            task.existed = not new

    async def _send(self, tasks: list[NewTask]) -> list[bool]:
        return await self.storage.enqueue(tasks, ENQUEUE_DEADLINE_S)

    async def seal(self, task: Task[Any]) -> NewTask:
        """Serialize the arguments and seal the task for its place."""
        serialized = self._codec.serializer.dumps([list(task.args), task.kwargs])
        arguments = serialized if isinstance(serialized, bytes) else await serialized
        return self._seal(task, arguments)

    def _seal(self, task: Task[Any], arguments: bytes) -> NewTask:
        now = now_ms()
        if task.id != task.jti.hex():  # an id of one's own
            names.task_id(task.id)
        if task.at_ms and not task.delay_ms:
            delay, at = max(task.at_ms - now, 0), task.at_ms
        else:
            delay, at = task.delay_ms, -task.delay_ms
        lowest = self._queue.default_priority
        priority = task.priority or lowest
        head = b"" if priority == lowest else TaskHead(priority=priority).pack()
        sealed = self._codec.seal(
            Purpose.TASK,
            task.id,
            task.fn_name,
            head,
            arguments,
            now_ms=now,
            jti=task.jti,
            delay_ms=delay,
            lifetime_s=_lifetime(task),
        )
        return NewTask(task.id.encode(), sealed, at, priority)

    async def result_of(self, task: Task[R], timeout: float | timedelta | None) -> TaskResult[R]:
        """The result of exactly this enqueue: an older result of the same id is refused."""
        genuine = not task.existed or task.id == task.jti.hex()  # a generated id can only be this very enqueue
        ref = task.jti if genuine else None
        return await self.result(task.id, timeout, function=task.fn_name, ref=ref)

    async def result(
        self,
        task_id: str,
        timeout: float | timedelta | None,
        *,
        function: str | None = None,
        ref: bytes | None = None,
    ) -> TaskResult[Any]:
        """Wait for a result; raises ``ResultTimeout``, ``ResultUnavailable``, ``TaskNotFound`` or ``Rejected``."""
        names.task_id(task_id)

        def genuine(untrusted: bytes) -> bool:
            try:
                self._codec.verify(untrusted, Purpose.RESULT, task_id, now_ms=now_ms(), function=function, ref=ref)
            except Rejected:
                return False
            return True

        try:
            with anyio.fail_after(None if timeout is None else seconds(timeout)):
                untrusted = await self.inbox.wait(task_id.encode(), genuine)
        except TimeoutError:
            raise ResultTimeout("the result did not arrive in time; the task goes on and can be asked again") from None
        if untrusted is UNKNOWN:
            raise TaskNotFound(
                "no such task is stored; it was never enqueued, it was put aside, or its result has expired"
            )
        if untrusted == b"":
            raise ResultUnavailable("the task has finished, but its result was not kept (ttl=0)")
        return await read_result(
            self._codec, cast("bytes", untrusted), task_id, self._known_errors, function=function, ref=ref
        )

    async def status(self, task_id: str) -> TaskStatus:
        """Where a task stands; a finished one is verified first (``Rejected``)."""
        record = await self.storage.look_up(names.task_id(task_id).encode())
        if record.standing is not Standing.DONE:
            return _STATUS[record.standing]
        if record.untrusted_result == b"":
            return TaskStatus.DONE
        return (await self.read(task_id, record.untrusted_result)).status

    async def read(self, task_id: str, untrusted: bytes | int | None) -> TaskResult[Any]:
        """Open a sealed result or failure; raises ``Rejected``."""
        return await read_result(self._codec, _bytes(untrusted), task_id, self._known_errors)

    async def ids(self, standing: Standing, priority: str | None, offset: int, limit: int) -> list[bytes]:
        """One page of the (untrusted) ids in a state; without *priority* of all priorities together, highest first."""
        if standing not in (Standing.QUEUED, Standing.SCHEDULED) or priority is not None:
            name = priority or self._queue.default_priority
            return await self.storage.list_ids(standing, priority=name, offset=offset, limit=limit)
        found: list[bytes] = []
        for name in self._queue.priorities:
            found += await self.storage.list_ids(standing, priority=name, offset=0, limit=offset + limit)
        return found[offset : offset + limit]

    def reseal(self, task_id: str, untrusted: bytes | int | None, *, now_ms: int) -> NewTask:
        """A genuine task, expired or not, under a fresh seal; its arguments stay sealed bytes. Raises ``Rejected``."""
        task = self._codec.verify_late(_bytes(untrusted), Purpose.TASK, task_id, now_ms=now_ms)
        return self.seal_again(task, now_ms=now_ms)

    def seal_again(self, task: Sealed, *, now_ms: int) -> NewTask:
        """The same enqueue under a fresh seal with a new lifetime; *task* must be known to be genuine."""
        sealed = self._codec.seal(
            Purpose.TASK,
            task.task_id,
            task.function,
            task.head,
            task.value,
            now_ms=now_ms,
            jti=task.jti,  # handles and idempotency keys stay good
            lifetime_s=DEFAULT_LIFETIME_S,
            serializer_id=task.serializer_id,
        )
        priority = TaskHead.unpack(task.head).priority if task.head else None
        if priority not in self._queue.priorities:
            priority = self._queue.default_priority
        return NewTask(task.task_id.encode(), sealed, 0, priority)

    async def info(self, task_id: str) -> TaskInfo | None:
        """What is stored of an unfinished task; None if there is none. Raises ``Rejected``."""
        record = await self.storage.look_up(names.task_id(task_id).encode())
        if record.untrusted_task is None:
            return None
        return await self.describe(task_id, record)

    async def describe(self, task_id: str, record: Record) -> TaskInfo:
        """Open the task of a record."""
        opened = self._codec.open(_bytes(record.untrusted_task), Purpose.TASK, task_id, now_ms=now_ms())
        value = await opened.value if isawaitable(opened.value) else opened.value
        try:
            args, kwargs = value
        except (TypeError, ValueError):
            raise Rejected("malformed") from None
        due = _moment(record.due_ms) if record.due_ms else None
        status = _STATUS[record.standing]
        return TaskInfo(task_id, opened.function, opened.issued_ms, tuple(args), kwargs, record.tries, due, status)

    async def abort(self, task_id: str, timeout: float | timedelta) -> bool:
        """Stop a task wherever it is; True once it is known to have stopped without finishing."""
        record = await self.storage.look_up(names.task_id(task_id).encode())
        if record.standing not in (Standing.QUEUED, Standing.SCHEDULED, Standing.RUNNING):
            return False
        task = self._codec.verify_late(_bytes(record.untrusted_task), Purpose.TASK, task_id, now_ms=now_ms())
        answer = await self.storage.abort(
            task_id.encode(),
            sealed=aborted_result(self._codec, task, record.tries, worker=""),
            ttl_ms=ABORTED_TTL_MS,
            mark=abort_mark(self._codec, task),
        )
        if answer != "running":
            return answer == "aborted"
        try:
            result = await self.result(task_id, timeout, function=task.function, ref=task.jti)
        except (ResultTimeout, TaskNotFound, ResultUnavailable):
            return False
        return result.status is TaskStatus.ABORTED


@asynccontextmanager
async def open_client(client: Client) -> AsyncIterator[Client]:
    """Run the background work of *client* as long as the context is open."""
    async with beside(client.run):
        try:
            yield client
        finally:
            client.inbox.close()


def _moment(untrusted_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(untrusted_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # no calendar goes so far
        return datetime.max.replace(tzinfo=UTC)


def _lifetime(task: Task[Any]) -> int:
    expire = task.settings.expire_s
    return DEFAULT_LIFETIME_S if expire is None else max(1, round(expire))


def _bytes(untrusted: bytes | int | None) -> bytes:
    if isinstance(untrusted, bytes):
        return untrusted
    raise Rejected("too-large" if isinstance(untrusted, int) else "missing-payload")
