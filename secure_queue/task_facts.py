"""What can be known about a task: where it stands, what it is running for, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from secure_queue.errors import SecureQueueError

R = TypeVar("R")


class TaskStatus(StrEnum):
    """The states of a task."""

    NOT_FOUND = "not_found"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a running task may know about its own run; ``idempotency_key`` is equal for every run of one enqueue or firing.

    ``fire_time`` is the moment of the firing that a schedule runs it for, None for other tasks. ``headers`` are what the
    caller sent along.
    """

    task_id: str
    fn_name: str
    tries: int
    max_tries: int | None
    timeout: float | None
    ttl: float | None
    priority: str
    idempotency_key: str
    worker_id: str
    fire_time: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task that waits, runs or has failed for good; times in milliseconds since the epoch."""

    task_id: str
    fn_name: str
    created_time: int
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    tries: int
    scheduled: datetime | None
    status: TaskStatus
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TaskResult(Generic[R]):
    """A finished task; times in milliseconds since the epoch."""

    task_id: str
    fn_name: str
    status: TaskStatus
    enqueue_time: int
    start_time: int
    finish_time: int
    tries: int
    worker_id: str
    _value: R | BaseException = field(repr=False)

    @property
    def success(self) -> bool:
        """Whether the task returned."""
        return self.status is TaskStatus.DONE

    @property
    def result(self) -> R:
        """What the task returned; raises ``SecureQueueError`` if it failed (then see ``exception``)."""
        if not self.success:
            raise SecureQueueError("a failed task has no result; see .exception")
        return cast("R", self._value)

    @property
    def exception(self) -> BaseException:
        """Why the task failed; raises ``SecureQueueError`` if it succeeded (then see ``result``)."""
        if self.success:
            raise SecureQueueError("a successful task has no exception; see .result")
        return cast("BaseException", self._value)
