"""An async task queue on Redis and Valkey whose payloads are signed, bound to their place and verified before use."""

from secure_queue.cron import Cron, Every
from secure_queue.dead_letters import DeadLetter
from secure_queue.dependencies import Depends
from secure_queue.errors import (
    Backpressure,
    ConfigurationError,
    KeyRingError,
    PartitionUnavailable,
    ProcessDied,
    RateLimited,
    Rejected,
    ResultTimeout,
    ResultUnavailable,
    Retry,
    SecureQueueError,
    SoftTimeout,
    StreamBroken,
    TaskFailed,
    TaskNotFound,
    Unavailable,
    UnserializableValue,
)
from secure_queue.limits import ConcurrencyLimit, RateLimit
from secure_queue.listing import BrokenTask
from secure_queue.payload.restricted_pickle import RestrictedPickle
from secure_queue.payload.serializers import MsgpackSerializer
from secure_queue.retry import RetryPolicy
from secure_queue.router import Router
from secure_queue.scheduling import ScheduleInfo
from secure_queue.serving import serve
from secure_queue.surroundings import TaskOutcome
from secure_queue.tasks import Task, TaskContext, TaskInfo, TaskResult, TaskStatus
from secure_queue.worker import Worker

StreaqRetry = Retry
"""The name that streaQ gives to ``Retry``."""

__all__ = [
    "Backpressure",
    "BrokenTask",
    "ConcurrencyLimit",
    "ConfigurationError",
    "Cron",
    "DeadLetter",
    "Depends",
    "Every",
    "KeyRingError",
    "MsgpackSerializer",
    "PartitionUnavailable",
    "ProcessDied",
    "RateLimit",
    "RateLimited",
    "Rejected",
    "RestrictedPickle",
    "ResultTimeout",
    "ResultUnavailable",
    "Retry",
    "RetryPolicy",
    "Router",
    "ScheduleInfo",
    "SecureQueueError",
    "SoftTimeout",
    "StreamBroken",
    "StreaqRetry",
    "Task",
    "TaskContext",
    "TaskFailed",
    "TaskInfo",
    "TaskNotFound",
    "TaskOutcome",
    "TaskResult",
    "TaskStatus",
    "Unavailable",
    "UnserializableValue",
    "Worker",
    "serve",
]
