"""Tasks that failed for good: list them, show one, put one back under a fresh seal, delete one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from secure_queue import names
from secure_queue.client import Client, stored_bytes
from secure_queue.clock import now_ms
from secure_queue.errors import DuplicateTask, Rejected, TaskFailed, TaskNotFound
from secure_queue.frames import opened_without_frames
from secure_queue.listing import BrokenTask
from secure_queue.payload.codec import Sealed
from secure_queue.payload.envelope import Purpose
from secure_queue.payload.records import Outcome, ResultHead
from secure_queue.settings import page
from secure_queue.storage import Record, Standing


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed for good. ``message`` and ``traceback`` are the failure's own text."""

    task_id: str
    fn_name: str
    died: datetime
    tries: int
    error: str
    message: str
    traceback: str
    worker_id: str


class DeadLetters:
    """The dead letters of the queue that *client* is open for."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def page(self, *, offset: int, limit: int) -> list[DeadLetter | BrokenTask]:
        """One page, oldest first in each partition; what does not open comes as a row that says why."""
        page(limit, offset)
        rows: list[DeadLetter | BrokenTask] = []
        for _, untrusted_id in await self._client.ids(Standing.DEAD, None, offset, limit):
            task_id = names.stored_task_id(untrusted_id)
            try:
                if task_id is None:
                    raise Rejected("bad-id")
                rows.append(await self.show(task_id))
            except Rejected as error:
                rows.append(BrokenTask(names.printable(untrusted_id), error.reason))
            except TaskNotFound:
                continue
        return rows

    @opened_without_frames
    async def show(self, task_id: str) -> DeadLetter:
        """One dead letter; raises ``TaskNotFound`` or ``Rejected``."""
        record = await self._record(task_id)
        result = await self._client.read(task_id, record.untrusted_death)
        error = result.exception
        text = error if isinstance(error, TaskFailed) else TaskFailed(type(error).__qualname__, str(error))
        return DeadLetter(
            task_id,
            result.fn_name,
            datetime.fromtimestamp(result.finish_time / 1000, UTC),
            result.tries,
            text.remote_type,
            text.message,
            text.traceback,
            result.worker_id,
        )

    @opened_without_frames
    async def retry(self, task_id: str) -> None:
        """Verify task and failure and put the task back with all its tries and a new lifetime; its arguments stay closed.

        Raises ``DuplicateTask`` if another task of its unique key counts; then it stays a dead letter.
        """
        task = self._genuine(task_id, await self._record(task_id))
        fresh = self._client.sealing.seal_again(task, now_ms=now_ms())
        storage = await self._client.storage_of(task_id)
        answer = await storage.revive(fresh)
        if isinstance(answer, bytes):
            raise DuplicateTask(names.printable(answer))
        if not answer:
            raise TaskNotFound(f"no dead letter {task_id}; somebody else has retried or deleted it")

    def _genuine(self, task_id: str, letter: Record) -> Sealed:
        """The verified task of a dead letter, expired or not.

        Raises ``Rejected`` also when its failure is not the genuine one of this very enqueue: else whoever writes to Redis
        could lay out an old task as a dead letter and have it run again.
        """
        codec, now = self._client.codec, now_ms()
        task = codec.verify_late(stored_bytes(letter.untrusted_task), Purpose.TASK, task_id, now_ms=now)
        death = stored_bytes(letter.untrusted_death)
        failure = codec.verify(death, Purpose.RESULT, task_id, now_ms=now, function=task.function, ref=task.jti)
        if ResultHead.unpack(failure.head).outcome is not Outcome.FAILED:
            raise Rejected("wrong-purpose")
        return task

    async def delete(self, task_id: str) -> None:
        """Delete a dead letter for ever."""
        storage = await self._client.storage_of(task_id)
        if not await storage.forget(task_id.encode()):
            raise TaskNotFound(f"no dead letter {task_id}; see `secure-queue dlq list`")

    async def _record(self, task_id: str) -> Record:
        record = await self._client.look_up(task_id)
        if record.standing is not Standing.DEAD:
            raise TaskNotFound(f"no dead letter {task_id}; see `secure-queue dlq list`")
        return record
