"""Every error of the library, in one tree.

    SecureQueueError
    ├── ConfigurationError        the program or its environment must change before anything can start
    │   ├── KeyRingError          a signing key is missing, weak, malformed or contradictory
    │   └── TopologyError         a URL or connection option does not describe a server
    ├── PayloadError              a value or its bytes
    │   ├── Rejected              stored bytes did not open; carries a reason word and nothing else
    │   └── UnserializableValue   a value cannot be turned into bytes by the chosen serializer
    │       └── CannotCross       a value or a function cannot be sent to the process of a task, or back
    ├── ServerError               the server behind the queue
    │   ├── Unavailable           an operation was not confirmed before its deadline; it may or may not have happened
    │   │   └── PartitionUnavailable   the same, said of one partition of a queue that has several
    │   ├── Backpressure          the server refuses new work (memory limit); nothing was written
    │   └── EmbeddedServerError   the private redis-server could not be found, started or joined
    ├── TaskError                 one task, seen by its caller
    │   ├── TaskNotFound          no such task is stored: never enqueued, or its result has expired
    │   ├── DuplicateTask         another task of the same key counts; carries its id
    │   ├── ResultTimeout         the result did not arrive in time; the task goes on
    │   ├── ResultUnavailable     the task has finished, but its result was not kept
    │   ├── StreamBroken          the parts of a result are not those of one run, or some are missing
    │   ├── SoftTimeout           raised *inside* a task whose time is up, so that it can tidy up
    │   ├── ProcessDied           the process that ran a task with ``process=True`` ended before the task did
    │   └── TaskFailed            the task failed in the worker; carries the remote type and message as text
    ├── Retry                     raised *by* a task to ask for another run
    └── RateLimited               raised *by* a task when what it calls wants no more for some time

Catch by meaning: ``SecureQueueError`` for everything, a branch for a family. Foreign exceptions are translated where
they enter and kept as ``__cause__``. No message contains a payload, an argument, a result or a key.
"""

from __future__ import annotations

from datetime import datetime, timedelta

LONGEST_S = 100 * 365.25 * 86_400
"""No duration is longer than a hundred years: more does not fit the envelope."""
LONGEST_STALL_S = 31 * 86_400


class SecureQueueError(Exception):
    """Base of every error that this library raises on purpose."""


class ConfigurationError(SecureQueueError):
    """The program or its environment must be changed; the message says how."""


class KeyRingError(ConfigurationError):
    """A signing key is missing, weak, malformed, duplicated or in the wrong state."""


class TopologyError(ConfigurationError):
    """A URL or a connection option does not describe a server that this library can reach."""


class PayloadError(SecureQueueError):
    """A value, or the bytes that stand for it, cannot be used."""


class Rejected(PayloadError):
    """Stored bytes did not open.

    ``reason`` is one of the fixed words of ``docs/payload-format.md``. The error never holds bytes of the payload, key
    material or context values, so it is safe to log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnserializableValue(PayloadError):
    """A value cannot be serialized; register its type, choose another serializer, or convert it first."""


class CannotCross(UnserializableValue):
    """Something cannot be sent to the process of a task, or back: pass plain values, or run the task in a thread."""


class ServerError(SecureQueueError):
    """The server behind the queue did not do what was asked."""


class Unavailable(ServerError):
    """The operation was not confirmed before its deadline.

    It may or may not have happened. Repeating it with the same task id is safe.
    """


class PartitionUnavailable(Unavailable):
    """One partition of the queue did not answer; ``partition`` is its number. The others may be well."""

    def __init__(self, partition: int, cause: object) -> None:
        super().__init__(f"partition {partition} does not answer; the others may be well: {cause}")
        self.partition = partition


class Backpressure(ServerError):
    """The server refuses new work because its memory limit is reached; nothing was written. Retry later."""


class EmbeddedServerError(ServerError):
    """The private redis-server could not be found, started or joined; the message says what to install or change."""


class TaskError(SecureQueueError):
    """Something about one task, seen by the side that enqueued or asks for it."""


class TaskNotFound(TaskError):
    """No such task is stored: it was never enqueued, or its result has expired."""


class DuplicateTask(TaskError):
    """Another task of the same key counts, so this one was not enqueued (``on_conflict="raise"``), or is left a dead letter
    or in the quarantine and is not put back; ``task_id`` is the id of the other one."""

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"task {task_id} has the same key; wait for that one, or do it again when it does not count any more"
        )
        self.task_id = task_id


class ResultTimeout(TaskError, TimeoutError):
    """The result did not arrive within the timeout; the task itself goes on and can be asked for again."""


class ResultUnavailable(TaskError):
    """The task has finished, but its result was not kept (``ttl=0``)."""


class StreamBroken(TaskError):
    """The parts of a result are not those of one run, or some are missing: begin again at the first one."""


class SoftTimeout(TaskError, TimeoutError):
    """Raised inside a task at its soft limit; save what there is, ask for more time, or let it fail as at a timeout."""

    def __init__(self, message: str = "the task exceeded its soft timeout") -> None:
        super().__init__(message)


class ProcessDied(TaskError):
    """The process that ran a task ended before the task did: it was killed, ran out of memory, or ended itself."""


class TaskFailed(TaskError):
    """A task failed in the worker.

    ``remote_type`` is the qualified name of the exception there, ``message`` its text, ``traceback`` the formatted
    traceback or an empty string. All three are plain data: nothing is imported or called to make this object.
    """

    def __init__(self, remote_type: str, message: str, traceback: str = "") -> None:
        super().__init__(remote_type, message)
        self.remote_type = remote_type
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.remote_type}: {self.message}" if self.message else self.remote_type


class Retry(SecureQueueError):
    """Raise inside a task to ask for another run.

    ``delay`` is in seconds (or a timedelta), ``schedule`` an aware datetime; with neither, the task's own backoff
    decides. The run counts as one of ``max_tries``. Raises ``ConfigurationError`` for both, for a negative or endless delay,
    and for a naive datetime.
    """

    def __init__(
        self,
        *args: object,
        delay: float | timedelta | None = None,
        schedule: datetime | None = None,
    ) -> None:
        super().__init__(*args)
        if delay is not None and schedule is not None:
            raise ConfigurationError("Retry takes either delay= or schedule=, not both")
        if delay is not None:
            _seconds(delay, LONGEST_S, "Retry(delay=…) takes from 0 seconds to 100 years, or a timedelta")
        if schedule is not None and (not isinstance(schedule, datetime) or schedule.utcoffset() is None):
            raise ConfigurationError("Retry(schedule=…) takes an aware datetime, for example one of datetime.now(UTC)")
        self.delay = delay
        self.schedule = schedule


class RateLimited(SecureQueueError):
    """Raised by a task when what it calls wants no more for some time: ``raise RateLimited(after=30)``.

    The task runs again after so many seconds, and nothing of the same ``RateLimit`` starts before. The run is no try.
    """

    def __init__(self, after: float | timedelta) -> None:
        super().__init__("what the task calls wants no more for some time")
        self.after = _seconds(
            after, LONGEST_STALL_S, "RateLimited(after=…) takes from 0 seconds to 31 days, or a timedelta"
        )


def _seconds(duration: object, longest_s: float, otherwise: str) -> float:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= longest_s:
        raise ConfigurationError(otherwise)
    return float(seconds)
