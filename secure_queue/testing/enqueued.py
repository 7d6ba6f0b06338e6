"""What was enqueued during a test: noted where it reaches the database, opened as a worker would, and compared.

A message of an assertion shows arguments, unlike any other message of this library: they are those of a test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, cast

from secure_queue.clock import now_ms
from secure_queue.dependencies import callers_signature
from secure_queue.errors import ConfigurationError, Rejected
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.layout import parse_envelope
from secure_queue.payload.records import TaskHead
from secure_queue.payload.serializers import Serializer
from secure_queue.redis.link import Argument, Reply
from secure_queue.tasks import Task


@dataclass(frozen=True, slots=True)
class Enqueued:
    """One task that has reached the queue, as its worker will see it; ``due`` is when it may run."""

    task_id: str
    fn_name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    enqueued: datetime
    due: datetime
    priority: str | None = None
    """None is the lowest one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    max_tries: int | None = None
    """What the call says; None: as the task does."""
    timeout: float | None = None
    ttl: float | None = None

    @property
    def delay(self) -> float:
        """For how many seconds it has to wait at least."""
        return (self.due - self.enqueued).total_seconds()

    def __str__(self) -> str:
        values = [repr(value) for value in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        later = f", due {self.delay:g} s later" if self.delay else ""
        said = {"headers": self.headers, "max_tries": self.max_tries, "timeout": self.timeout, "ttl": self.ttl}
        more = [f", {name}={value!r}" for name, value in said.items() if value not in (None, {})]
        return f"{self.fn_name}({', '.join(values)}){later}{''.join(more)}"


class Log:
    """All that was enqueued over the links of a test, in order; one enqueue counts once, however often it is sent."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._seen: set[tuple[str, bytes]] = set()
        self.entries: list[Enqueued] = []

    async def note(self, script: str, args: Sequence[Argument], reply: Reply) -> None:
        """Note the tasks among the arguments of *script*, which has run."""
        for sealed in _stored(script, args, reply):
            with suppress(Rejected, UnicodeDecodeError):  # of another queue, or put there by the test to be refused
                await self._open(sealed)

    async def _open(self, sealed: bytes) -> None:
        parsed = parse_envelope(sealed)
        if parsed.purpose != Purpose.TASK:
            return
        opened = self._codec.open(sealed, Purpose.TASK, parsed.task_id.decode("ascii"), now_ms=now_ms())
        if (opened.task_id, opened.jti) in self._seen:
            return
        self._seen.add((opened.task_id, opened.jti))
        args, kwargs = await opened.value if isawaitable(opened.value) else opened.value
        issued, due = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (opened.issued_ms, opened.not_before_ms))
        head = TaskHead.unpack(opened.head)
        said = head.priority, head.headers or {}, head.max_tries, _seconds(head.timeout_ms), _seconds(head.ttl_ms)
        self.entries.append(Enqueued(opened.task_id, opened.function, tuple(args), kwargs, issued, due, *said))

    def like(self, wanted: Task[Any], function: Callable[..., Any] | None) -> list[Enqueued]:
        """What the handle *wanted* would have enqueued; what it leaves open is not compared.

        Arguments are the same however they are passed, by place or by name, if *function* says what its parameters are,
        and as a worker reads them. Raises ``ConfigurationError`` for a handle that is a schedule.
        """
        if wanted.plan is not None:
            raise ConfigurationError("this handle is a schedule and no task; look at `await worker.schedules()` for it")
        signature = None if function is None else callers_signature(function)
        calls = [(wanted.args, wanted.kwargs), *_as_read(self._codec.serializer, wanted)]
        bound = [_bound(signature, *call) for call in calls]
        return [
            entry
            for entry in self.entries
            if entry.fn_name == wanted.fn_name
            and _bound(signature, entry.args, entry.kwargs) in bound
            and _is_as_said(entry, wanted)
        ]


def _stored(script: str, args: Sequence[Argument], reply: Reply) -> list[bytes]:
    """The values among *args* that may be tasks and were really stored."""
    if script == "enqueue" and isinstance(reply, bytes):
        return [sealed for sealed, flag in zip(_bytes(args[1::3]), reply, strict=True) if flag == ord("1")]
    if script == "enqueue_keyed" and isinstance(reply, list):
        return [sealed for sealed, word in zip(_bytes(args[1::10]), reply, strict=True) if word == b"1"]
    if script == "fire" and reply != b"fired":
        return []
    return _bytes(args)


def _bytes(args: Sequence[Argument]) -> list[bytes]:
    return [one for one in args if isinstance(one, bytes)]


def _is_as_said(entry: Enqueued, wanted: Task[Any]) -> bool:
    options = wanted.options
    return (
        wanted.priority in (None, entry.priority)
        and wanted._id in (None, entry.task_id)
        and (not wanted.delay_ms or abs(entry.delay * 1000 - wanted.delay_ms) < 1000)
        and (not wanted.at_ms or abs(entry.due.timestamp() * 1000 - wanted.at_ms) < 1000)
        and options.headers.items() <= entry.headers.items()
        and options.max_tries in (None, entry.max_tries)
        and _seconds(options.timeout_ms) in (None, entry.timeout)
        and _seconds(options.ttl_ms) in (None, entry.ttl)
    )


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _as_read(serializer: Serializer, wanted: Task[Any]) -> list[tuple[Sequence[Any], dict[str, Any]]]:
    """The arguments as a worker reads them: lists in the place of tuples, say; none if that cannot be known at once."""
    if serializer.is_async:
        return []
    with suppress(Exception):  # there may be things among them that only compare, and are never serialized
        args, kwargs = serializer.loads(cast("bytes", serializer.dumps([list(wanted.args), wanted.kwargs])))
        return [(args, kwargs)]
    return []


def _bound(signature: inspect.Signature | None, args: Sequence[Any], kwargs: dict[str, Any]) -> object:
    if signature is not None:
        with suppress(TypeError):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return bound.arguments
    return tuple(args), kwargs
