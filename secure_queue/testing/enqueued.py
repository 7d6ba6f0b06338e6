"""What was enqueued during a test: noted where it reaches the database, opened as a worker would, and compared.

A message of an assertion shows arguments, unlike any other message of this library: they are those of a test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any

from secure_queue.clock import now_ms
from secure_queue.errors import Rejected
from secure_queue.payload.codec import Codec, Purpose
from secure_queue.payload.layout import parse_envelope
from secure_queue.payload.records import TaskHead
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

    @property
    def delay(self) -> float:
        """For how many seconds it has to wait at least."""
        return (self.due - self.enqueued).total_seconds()

    def __str__(self) -> str:
        values = [repr(value) for value in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        later = f", due {self.delay:g} s later" if self.delay else ""
        return f"{self.fn_name}({', '.join(values)}){later}"


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
        priority = TaskHead.unpack(opened.head).priority
        self.entries.append(Enqueued(opened.task_id, opened.function, tuple(args), kwargs, issued, due, priority))


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


def matches(entry: Enqueued, wanted: Task[Any], function: Callable[..., Any] | None) -> bool:
    """Whether *entry* is what the handle *wanted* would enqueue; what the handle leaves open is not compared.

    Arguments are the same however they are passed, by place or by name, if *function* says what its parameters are.
    """
    return (
        entry.fn_name == wanted.fn_name
        and _bound(function, entry.args, entry.kwargs) == _bound(function, wanted.args, wanted.kwargs)
        and wanted.priority in (None, entry.priority)
        and wanted._id in (None, entry.task_id)
        and (not wanted.delay_ms or abs(entry.delay * 1000 - wanted.delay_ms) < 1000)
        and (not wanted.at_ms or abs(entry.due.timestamp() * 1000 - wanted.at_ms) < 1000)
    )


def _bound(function: Callable[..., Any] | None, args: Sequence[Any], kwargs: dict[str, Any]) -> object:
    if function is not None:
        try:
            bound = inspect.signature(function).bind(*args, **kwargs)
        except (TypeError, ValueError):
            return tuple(args), kwargs
        bound.apply_defaults()
        return bound.arguments
    return tuple(args), kwargs
