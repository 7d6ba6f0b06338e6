"""Between the end of a run and the sealed bytes that tell of it, both ways.

A result is bound to its task by id, function and ``ref``, the message id of the task that it answers; the answer to an
encrypted task is encrypted, whatever the settings here say. Failures travel as
plain data in msgpack, whatever serializer the values use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from secure_queue.clock import now_ms
from secure_queue.errors import Rejected, ResultUnavailable
from secure_queue.payload.codec import Codec, Opened
from secure_queue.payload.envelope import NO_EXPIRY, Purpose
from secure_queue.payload.failures import Failure, from_plain, rebuild
from secure_queue.payload.records import Outcome, PartHead, ResultHead
from secure_queue.payload.serializers import MSGPACK_ID, pack_plain
from secure_queue.settings import TaskSettings
from secure_queue.tasks import TaskResult, TaskStatus

RESULT_LIFETIME_S = 7 * 86_400
FAILURE_LIFETIME_S = 31 * 86_400
"""A failure can be read as long as its dead letter is kept."""

MARK_LIFETIME_S = 100
"""As long as the mark of a result that is not kept stays."""
ABORT_LIFETIME_S = 86_400
PLAIN = TaskSettings("")
"""The settings of a task of which only the message is known."""

_RESULT, _STATE = Purpose.RESULT, Purpose.STATE  # looked up once: a member of an Enum costs as much as a call
_STATUS = {Outcome.DONE: TaskStatus.DONE, Outcome.FAILED: TaskStatus.FAILED, Outcome.ABORTED: TaskStatus.ABORTED}
_NOTHING = pack_plain(None)
ABORTED = Failure("secure_queue.TaskAborted", "the task was aborted")


class OpenedTask(Protocol):
    """What is needed of a verified task to answer it."""

    @property
    def task_id(self) -> str: ...
    @property
    def function(self) -> str: ...
    @property
    def jti(self) -> bytes: ...
    @property
    def issued_ms(self) -> int: ...
    @property
    def is_encrypted(self) -> bool: ...


def lifetime_s(ttl_ms: int) -> int:
    """The sealed lifetime of a result that is stored for *ttl_ms* (negative: for ever)."""
    return NO_EXPIRY if ttl_ms < 0 else max(RESULT_LIFETIME_S, -(-ttl_ms // 1000) + 60)


def seal_done(
    codec: Codec, task: OpenedTask, head: ResultHead, value: bytes, ttl_ms: int, settings: TaskSettings = PLAIN
) -> bytes:
    """Seal a returned value, already serialized; raises ``UnserializableValue`` if it is too large."""
    return _answer(codec, _RESULT, task, head.pack(), value, head.finished_ms, lifetime_s(ttl_ms), None, settings)


def seal_failure(
    codec: Codec, task: OpenedTask, head: ResultHead, failure: Failure, ttl_ms: int, settings: TaskSettings = PLAIN
) -> bytes:
    """Seal a failure as data."""
    value, lifetime = pack_plain(failure.to_plain()), max(FAILURE_LIFETIME_S, lifetime_s(ttl_ms))
    return _answer(codec, Purpose.RESULT, task, head.pack(), value, head.finished_ms, lifetime, MSGPACK_ID, settings)


def seal_mark(codec: Codec, task: OpenedTask, head: ResultHead, settings: TaskSettings) -> bytes:
    """Seal that a task has ended, in the place of a result that is not kept."""
    unkept = head._replace(kept=False).pack()
    return _answer(codec, _RESULT, task, unkept, _NOTHING, head.finished_ms, MARK_LIFETIME_S, MSGPACK_ID, settings)


def seal_part(codec: Codec, task: OpenedTask, head: PartHead, value: bytes, settings: TaskSettings) -> bytes:
    """Seal what a running task says, already serialized; raises ``UnserializableValue`` if it is too large."""
    return _answer(codec, _STATE, task, head.pack(), value, now_ms(), RESULT_LIFETIME_S, None, settings)


async def read_part(
    codec: Codec, untrusted: bytes, task_id: str, function: str | None, ref: bytes | None
) -> tuple[PartHead, Any]:
    """Open what a task is said to have said; raises ``Rejected`` if it did not."""
    opened = codec.open(untrusted, Purpose.STATE, task_id, now_ms=now_ms(), function=function, ref=ref)
    if not opened.ref:  # a process that tells of itself answers no task
        raise Rejected("wrong-ref")
    value = opened.value
    if codec.serializer.is_async and opened.serializer_id == codec.serializer.id:
        value = await value
    return PartHead.unpack(opened.head), value


def aborted_head(task: OpenedTask, tries: int, worker: str, started_ms: int = 0) -> ResultHead:
    """What is said of a task that was aborted, or need not run any more."""
    now = now_ms()
    return ResultHead(Outcome.ABORTED, tries, started_ms or now, now, task.issued_ms, worker)


def aborted_result(codec: Codec, task: OpenedTask, tries: int) -> bytes:
    """Seal the result of a task that was aborted before it ran."""
    return seal_failure(codec, task, aborted_head(task, tries, ""), ABORTED, 0)


def abort_mark(codec: Codec, task: OpenedTask) -> bytes:
    """Seal the order to stop one run of one task."""
    return _answer(codec, Purpose.CONTROL, task, b"", b"", now_ms(), ABORT_LIFETIME_S, MSGPACK_ID, PLAIN)


def _answer(
    codec: Codec,
    purpose: Purpose,
    task: OpenedTask,
    head: bytes,
    value: bytes,
    issued_ms: int,
    lifetime: int,
    serializer_id: int | None,
    settings: TaskSettings,
) -> bytes:
    """Seal what is said about exactly this enqueue: ``ref`` is its message id."""
    return codec.seal(
        purpose,
        task.task_id,
        task.function,
        head,
        value,
        now_ms=issued_ms,
        jti=os.urandom(16),
        ref=task.jti,
        lifetime_s=lifetime,
        serializer_id=serializer_id,
        encrypt=True if (purpose is _RESULT or purpose is _STATE) and task.is_encrypted else settings.encrypt,
        compress=settings.compress,
    )


async def read_result(
    codec: Codec,
    untrusted: bytes,
    task_id: str,
    known_errors: Mapping[str, type],
    *,
    function: str | None = None,
    ref: bytes | None = None,
) -> TaskResult[Any]:
    """Open a sealed result; raises ``Rejected`` if it is not the genuine answer to this task, and ``ResultUnavailable``."""
    opened = codec.open(untrusted, Purpose.RESULT, task_id, now_ms=now_ms(), function=function, ref=ref)
    head = ResultHead.unpack(opened.head)
    value = await value_of(codec, opened, head, known_errors)
    return TaskResult(
        task_id,
        opened.function,
        _STATUS[head.outcome],
        head.enqueued_ms,
        head.started_ms,
        head.finished_ms,
        head.tries,
        head.worker,
        value,
    )


def read_status(
    codec: Codec, untrusted: bytes, task_id: str, *, function: str | None = None, ref: bytes | None = None
) -> TaskStatus:
    """How a task ended, without its value; raises ``Rejected`` if this is not the genuine answer to it."""
    answer = codec.verify(untrusted, Purpose.RESULT, task_id, now_ms=now_ms(), function=function, ref=ref)
    return _STATUS[ResultHead.unpack(answer.head).outcome]


async def value_of(codec: Codec, opened: Opened, head: ResultHead, known_errors: Mapping[str, type]) -> Any:
    """What a genuine result holds: the value that was returned, or the failure as an exception.

    Raises ``ResultUnavailable`` if it only says that there was one.
    """
    if not head.kept:
        raise ResultUnavailable("the task has finished, but its result was not kept (ttl=0)")
    if head.outcome is not Outcome.DONE:
        return rebuild(from_plain(opened.value), known_errors)
    if codec.serializer.is_async and opened.serializer_id == codec.serializer.id:
        return await opened.value
    return opened.value
