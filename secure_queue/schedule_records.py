"""Between schedules and sealed bytes: the record of a stored schedule, and the task that one firing enqueues.

A record holds function, arguments and rule, so that whoever writes to Redis without a key can remove or delay a schedule,
and neither make one nor change one. The id of a firing follows from its schedule and its time: all workers make the same.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol, cast

from secure_queue.call_options import CallOptions
from secure_queue.clock import now_ms
from secure_queue.cron import Cron, Every, Rule
from secure_queue.errors import ConfigurationError, Rejected
from secure_queue.names import stored_task_id
from secure_queue.payload.codec import Codec, Sealed
from secure_queue.payload.envelope import NO_EXPIRY, Purpose
from secure_queue.payload.records import NOTHING_SET, TaskHead
from secure_queue.payload.serializers import pack_plain, unpack_plain
from secure_queue.plans import Plan, plan
from secure_queue.settings import DEFAULT_LIFETIME_S, TaskSettings, lifetime_of

_EXPRESSION, _ZONE, _INTERVAL_MS, _MISFIRE, _DRIFT_MS, _OVERLAP, _PRIORITY, _EXPIRE_S, _HEAD = range(1, 10)
_TYPES: Final = {
    _EXPRESSION: str,
    _ZONE: str,
    _INTERVAL_MS: int,
    _MISFIRE: str,
    _DRIFT_MS: int,
    _OVERLAP: bool,
    _PRIORITY: str,
    _EXPIRE_S: int,
    _HEAD: bytes,
}


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a schedule runs and when: from code (``sealed`` is empty) or from a stored record."""

    schedule_id: str
    function: str
    plan: Plan
    priority: str | None = None
    lifetime_s: int = DEFAULT_LIFETIME_S
    sealed: bytes = field(default=b"", repr=False)
    encrypt: bool | None = None
    head: TaskHead = NOTHING_SET
    """What its calls say differently from the task."""


class Call(Protocol):
    """What is needed of an enqueued call to repeat it."""

    id: str
    fn_name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    priority: str | None
    options: CallOptions


async def seal_schedule(codec: Codec, call: Call, plan: Plan, settings: TaskSettings) -> bytes:
    """Seal a schedule of *call* under its id; raises ``UnserializableValue``."""
    return codec.seal(
        Purpose.SCHEDULE,
        call.id,
        call.fn_name,
        _pack(plan, call.priority, lifetime_of(settings), TaskHead.of(call.options, None)),
        await serialized(codec, call.args, call.kwargs),
        now_ms=now_ms(),
        jti=os.urandom(16),
        lifetime_s=NO_EXPIRY,
        encrypt=settings.encrypt,
        compress=settings.compress,
    )


def open_schedule(codec: Codec, untrusted_id: bytes, untrusted: bytes) -> tuple[Repeated, Sealed]:
    """Verify a stored schedule; its arguments stay bytes. Raises ``Rejected``."""
    schedule_id = stored_task_id(untrusted_id)
    if schedule_id is None:
        raise Rejected("bad-id")
    record = codec.verify(untrusted, Purpose.SCHEDULE, schedule_id, now_ms=now_ms())
    found, priority, lifetime_s, head = _unpack(record.head)
    encrypt = record.is_encrypted or None  # what was hidden in the schedule is hidden in its runs
    return Repeated(schedule_id, record.function, found, priority, lifetime_s, untrusted, encrypt, head), record


def firing_id(schedule_id: str, moment_ms: int) -> str:
    """The task id of the run of a schedule at a moment: 32 hexadecimal digits."""
    text = f"secure_queue/v1/firing {moment_ms} {schedule_id}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def seal_firing(
    codec: Codec, repeated: Repeated, moment_ms: int, arguments: bytes, serializer_id: int | None, priority: str | None
) -> tuple[str, bytes]:
    """The task of one firing: its id and its sealed bytes; *priority* is None for the lowest."""
    task_id = firing_id(repeated.schedule_id, moment_ms)
    sealed = codec.seal(
        Purpose.TASK,
        task_id,
        repeated.function,
        repeated.head._replace(priority=priority, fire_ms=moment_ms).pack(),
        arguments,
        now_ms=now_ms(),
        jti=os.urandom(16),
        lifetime_s=repeated.lifetime_s,
        serializer_id=serializer_id,
        encrypt=repeated.encrypt,
    )
    return task_id, sealed


def serialize(codec: Codec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call as every task carries them: bytes, or an awaitable of them if the serializer is async."""
    return codec.serializer.dumps([list(args), kwargs])


async def serialized(codec: Codec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The same, as bytes in any case."""
    made = serialize(codec, args, kwargs)
    return made if isinstance(made, bytes) else cast("bytes", await made)


def _pack(plan: Plan, priority: str | None, lifetime_s: int, head: TaskHead) -> bytes:
    fields: dict[int, object] = {
        _MISFIRE: str(plan.misfire),
        _DRIFT_MS: round(plan.max_drift_s * 1000),
        _OVERLAP: plan.overlap,
        _EXPIRE_S: lifetime_s,
    }
    if priority is not None:
        fields[_PRIORITY] = priority
    if packed := head.pack():
        fields[_HEAD] = packed
    match plan.rule:
        case Cron(expression, zone):
            fields |= {_EXPRESSION: expression, _ZONE: zone}
        case Every() as every:
            fields[_INTERVAL_MS] = every.interval_ms
    return pack_plain(fields)


def _unpack(untrusted: bytes) -> tuple[Plan, str | None, int, TaskHead]:
    """Read a head strictly; that a key holder sealed it does not make its rule a sound one."""
    fields = unpack_plain(untrusted)
    if type(fields) is not dict or not all(type(value) is _TYPES.get(key) for key, value in fields.items()):
        raise Rejected("malformed")
    try:
        made = plan(
            _rule(fields),
            misfire=fields[_MISFIRE],
            max_schedule_drift=fields[_DRIFT_MS] / 1000,
            overlap=fields[_OVERLAP],
        )
        return made, fields.get(_PRIORITY), fields[_EXPIRE_S], TaskHead.unpack(fields.get(_HEAD, b""))
    except (KeyError, ConfigurationError):
        raise Rejected("malformed") from None


def _rule(fields: dict[int, Any]) -> Rule:
    if _INTERVAL_MS in fields:
        return Every(timedelta(milliseconds=fields[_INTERVAL_MS]))
    return Cron(fields[_EXPRESSION], fields[_ZONE])
