"""The producer's side: enqueue tasks, wait for results, look tasks up, abort them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Any, TypeVar, cast

import anyio

from secure_queue import names
from secure_queue.clock import now_ms
from secure_queue.durability import Durability
from secure_queue.errors import Rejected, ResultTimeout, ResultUnavailable, TaskNotFound
from secure_queue.evidence import Evidence, Scannable
from secure_queue.frames import opened_without_frames
from secure_queue.notes import withdraw
from secure_queue.outcomes import abort_mark, aborted_result, read_result, read_status
from secure_queue.partitions import is_generated, partition_of, slices
from secure_queue.payload.codec import Codec
from secure_queue.payload.envelope import Purpose
from secure_queue.payload.records import TaskHead
from secure_queue.routing import Routes
from secure_queue.sealing import Sealing
from secure_queue.settings import QueueSettings, patience
from secure_queue.storage import UNKNOWN, Counts, NewTask, Record, Standing, Storage, Stored
from secure_queue.tasks import Task, TaskInfo, TaskResult, TaskStatus

R = TypeVar("R")

ABORTED_TTL_MS = 300_000

_STATUS = {
    Standing.NOT_FOUND: TaskStatus.NOT_FOUND,
    Standing.QUEUED: TaskStatus.QUEUED,
    Standing.SCHEDULED: TaskStatus.SCHEDULED,
    Standing.RUNNING: TaskStatus.RUNNING,
    Standing.DEAD: TaskStatus.FAILED,
}


class Client:
    """Everything that can be asked about tasks of one queue, while its *routes* are open."""

    def __init__(self, routes: Routes, codec: Codec, queue: QueueSettings, known_errors: dict[str, type]) -> None:
        self.routes = routes
        self.codec = codec
        self.sealing = Sealing(codec, queue)
        self._queue = queue
        self.queue_name = queue.queue_name
        self._known_errors = known_errors

    async def storage_of(self, task_id: str) -> Storage:
        """The partition of one task; raises ``ConfigurationError`` for what is no id."""
        return (await self.routes.of(names.task_id(task_id))).storage

    def enqueue_many(self, tasks: Sequence[Task[Any]]) -> Awaitable[None]:
        """Enqueue all of *tasks*, in the order of each partition, in as few calls as possible.

        One task is one call or a part of one. Tasks of different levels of durability go in different calls; raises
        ``ConfigurationError`` before anything is sent if a level cannot be had here. All partitions are told at once; if
        one does not answer, the others have theirs.
        """
        return self._enqueue_one(tasks[0]) if len(tasks) == 1 else self._enqueue_all(tasks)

    async def _enqueue_all(self, tasks: Sequence[Task[Any]]) -> None:
        level_of = {wanted: self.routes.level(wanted) for wanted in {task.wanted for task in tasks}}
        sealed = await self.sealing.seal_all(tasks)
        for level in dict.fromkeys(level_of.values()):
            places = [place for place, task in enumerate(tasks) if level_of[task.wanted] is level]
            await self._enqueue([tasks[place] for place in places], level, [sealed[place] for place in places])

    async def _enqueue_one(self, task: Task[Any]) -> None:
        level = self.routes.level(task.wanted)
        sealed = await self.sealing.seal(task)
        route = self.routes.at(0 if self._is_for_the_only_one(task) else await self.routes.for_new(task.id))
        new, task.durability = await route.enqueue_one(level, sealed)
        task.existed = not new

    def _is_for_the_only_one(self, task: Task[Any]) -> bool:
        """Whether its id was made for the only partition: nobody need ask what it says."""
        return self.routes.is_single and task.id == task.jti.hex()

    async def _enqueue(self, tasks: Sequence[Task[Any]], level: Durability, sealed: Sequence[NewTask]) -> None:
        """Enqueue tasks of one level."""
        if all(map(self._is_for_the_only_one, tasks)):
            groups: Mapping[int, Sequence[int]] = {0: range(len(tasks))}
        else:
            groups = await self.routes.grouped([task.id for task in tasks])
        answers, problems = await self.routes.enqueue(
            level, {partition: [sealed[place] for place in places] for partition, places in groups.items()}
        )
        for partition, stored in answers.items():
            _note([tasks[place] for place in groups[partition]], stored)
        for problem in problems.values():
            raise problem

    async def result_of(self, task: Task[R], timeout: float | timedelta | None) -> TaskResult[R]:
        """The result of exactly this enqueue: an older result of the same id is refused."""
        return await self.result(task.id, timeout, function=task.fn_name, ref=self.ref_of(task))

    def ref_of(self, task: Task[Any]) -> bytes | None:
        """What an answer to *task* refers to; None if the task that is stored under its id is that of somebody else."""
        genuine = not task.existed or is_generated(task.id, task.jti)  # a generated id can only be this very enqueue
        return task.jti if genuine else None

    @opened_without_frames
    async def result(
        self,
        task_id: str,
        timeout: float | timedelta | None,
        *,
        function: str | None = None,
        ref: bytes | None = None,
    ) -> TaskResult[Any]:
        """Wait for a result; raises ``ResultTimeout``, ``ResultUnavailable``, ``TaskNotFound`` or ``Rejected``."""
        timeout_s = patience(timeout)
        inbox = (await self.routes.of(names.task_id(task_id))).inbox

        def genuine(untrusted: bytes) -> bool:
            try:
                self.codec.verify(untrusted, Purpose.RESULT, task_id, now_ms=now_ms(), function=function, ref=ref)
            except Rejected:
                return False
            return True

        try:
            with anyio.fail_after(timeout_s):
                untrusted = await inbox.wait(task_id.encode(), genuine)
        except TimeoutError:
            raise ResultTimeout("the result did not arrive in time; the task goes on and can be asked again") from None
        if untrusted is UNKNOWN:
            raise TaskNotFound(
                "no such task is stored; it was never enqueued, it was put aside, or its result has expired"
            )
        return await read_result(
            self.codec, cast("bytes", untrusted), task_id, self._known_errors, function=function, ref=ref
        )

    async def look_up(self, task_id: str) -> Record:
        """All that is stored of one task."""
        return await (await self.storage_of(task_id)).look_up(task_id.encode())

    @opened_without_frames
    async def status(self, task_id: str, *, function: str | None = None, ref: bytes | None = None) -> TaskStatus:
        """Where a task stands; a finished one is verified first (``Rejected``)."""
        record = await self.look_up(task_id)
        if record.standing is not Standing.DONE:
            return _STATUS[record.standing]
        return read_status(self.codec, stored_bytes(record.untrusted_result), task_id, function=function, ref=ref)

    async def read(
        self, task_id: str, untrusted: bytes | int | None, *, function: str | None = None, ref: bytes | None = None
    ) -> TaskResult[Any]:
        """Open a sealed result or failure; raises ``Rejected``, and ``ResultUnavailable`` for one that was not kept."""
        return await read_result(
            self.codec, stored_bytes(untrusted), task_id, self._known_errors, function=function, ref=ref
        )

    async def ids(
        self, standing: Standing, priority: str | None, offset: int, limit: int
    ) -> list[tuple[Storage, bytes]]:
        """One page of the (untrusted) ids in a state, each with the partition that holds it.

        Without *priority* of all priorities together, highest first; of each, one partition after the other.
        """
        by_priority = standing in (Standing.QUEUED, Standing.SCHEDULED) and priority is None
        wanted = self._queue.priorities if by_priority else (priority or self._queue.lowest_priority,)
        partitions = await self.routes.in_use()
        lists = [(self.routes.at(partition).storage, name) for name in wanted for partition in partitions]
        sizes = [offset + limit]
        if len(lists) > 1:
            counts = await self.routes.everywhere(_counted, partitions)
            sizes = [_size(one, standing, name) for name in wanted for one in counts]
        found: list[tuple[Storage, bytes]] = []
        for which, first, count in slices(sizes, offset, limit):
            storage, name = lists[which]
            page = await storage.list_ids(standing, priority=name, offset=first, limit=count)
            found += [(storage, untrusted_id) for untrusted_id in page]
        return found

    async def scannables(self) -> list[Scannable]:
        """What every partition holds, to be looked at one by one."""
        return [self.routes.at(partition).storage.scannable() for partition in await self.routes.in_use()]

    def evidence(self, partition: int = 0) -> Evidence:
        """What stands beside the tasks of a partition; the audit log and who lives are kept in partition 0."""
        return self.routes.at(partition).storage.evidence()

    async def counts(self) -> Counts:
        """How many tasks of the whole queue stand in each state."""
        return _together(await self.routes.counts())

    @opened_without_frames
    async def info(self, task_id: str) -> TaskInfo | None:
        """What is stored of an unfinished task; None if there is none. Raises ``Rejected``."""
        record = await self.look_up(task_id)
        if record.untrusted_task is None:
            return None
        return await self.describe(task_id, record)

    async def describe(self, task_id: str, record: Record) -> TaskInfo:
        """Open the task of a record."""
        opened = self.codec.open(stored_bytes(record.untrusted_task), Purpose.TASK, task_id, now_ms=now_ms())
        value = await opened.value if isawaitable(opened.value) else opened.value
        try:
            args, kwargs = value
        except (TypeError, ValueError):
            raise Rejected("malformed") from None
        due = _moment(record.due_ms) if record.due_ms else None
        status = _STATUS[record.standing]
        headers = TaskHead.unpack(opened.head).headers or {}
        return TaskInfo(
            task_id, opened.function, opened.issued_ms, tuple(args), kwargs, record.tries, due, status, headers
        )

    @opened_without_frames
    async def abort(self, task_id: str, timeout: float | timedelta | None) -> bool:
        """Stop a task wherever it is; True once it is known to have stopped without finishing."""
        timeout_s = patience(timeout)
        storage = await self.storage_of(task_id)
        record = await storage.look_up(task_id.encode())
        if record.standing not in (Standing.QUEUED, Standing.SCHEDULED, Standing.RUNNING):
            return False
        task = self.codec.verify_late(stored_bytes(record.untrusted_task), Purpose.TASK, task_id, now_ms=now_ms())
        answer = await storage.abort(
            task_id.encode(),
            sealed=aborted_result(self.codec, task, record.tries),
            ttl_ms=ABORTED_TTL_MS,
            mark=abort_mark(self.codec, task),
        )
        if answer == "aborted":
            partition = partition_of(task_id, (await self.routes.known()).key_partitions)
            await withdraw(self._limits_of, partition, {task_id.encode(): record.untrusted_note})
        if answer != "running":
            return answer == "aborted"
        try:
            result = await self.result(task_id, timeout_s, function=task.function, ref=task.jti)
        except (ResultTimeout, TaskNotFound, ResultUnavailable):
            return False
        return result.status is TaskStatus.ABORTED

    def _limits_of(self, partition: int) -> Storage:
        return self.routes.at(partition).storage


async def _counted(storage: Storage) -> Counts:
    return await storage.counts()


def _together(counts: Sequence[Counts]) -> Counts:
    """The counts of a whole queue from those of its partitions; every worker shows itself in all of them."""
    ready, due, shelved, in_lines = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for one in counts:
        ready.update(one.ready)
        due.update(one.due)
        shelved.update(one.shelved)
        in_lines.update(one.in_lines)
    return Counts(
        dict(ready),
        dict(due),
        sum(one.running for one in counts),
        sum(one.results for one in counts),
        sum(one.dead for one in counts),
        sum(one.quarantined for one in counts),
        max(one.workers for one in counts),
        dict(shelved),
        dict(in_lines),
    )


def _size(counts: Counts, standing: Standing, priority: str) -> int:
    sizes = {
        Standing.QUEUED: sum(one.get(priority, 0) for one in (counts.ready, counts.shelved, counts.in_lines)),
        Standing.SCHEDULED: counts.due.get(priority, 0),
        Standing.RUNNING: counts.running,
        Standing.DONE: counts.results,
        Standing.DEAD: counts.dead,
    }
    return sizes.get(standing, 0)


def _note(tasks: Sequence[Task[Any]], answers: Sequence[Stored]) -> None:
    for task, (new, durability) in zip(tasks, answers, strict=True):
        task.existed, task.durability = not new, durability


def _moment(untrusted_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(untrusted_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # no calendar goes so far
        return datetime.max.replace(tzinfo=UTC)


def stored_bytes(untrusted: bytes | int | None) -> bytes:
    """What is stored, if it is there and not too large; else raises ``Rejected``."""
    if isinstance(untrusted, bytes):
        return untrusted
    raise Rejected("too-large" if isinstance(untrusted, int) else "missing-payload")
