"""The heads that travel beside a value inside the sealed body: what the library itself must know of a task or result.

Plain msgpack maps with small integer keys; a head with nothing to say is no bytes at all. They are tuples, because one
of each is made for every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from secure_queue.call_options import CallOptions
from secure_queue.edges import Lineage
from secure_queue.errors import Rejected
from secure_queue.payload.serializers import pack_plain, unpack_plain

_MAX_INT: Final = (1 << 63) - 1
_MAX_TEXT: Final = 255

# Keys of the task head
_MAX_TRIES, _TIMEOUT_MS, _PRIORITY, _LINEAGE, _TTL_MS, _FIRE_MS = 3, 4, 5, 7, 9, 11
_HEADERS, _UNIQUE, _LINE = 12, 13, 14
_TASK_INTS: Final = frozenset({_MAX_TRIES, _TIMEOUT_MS, _TTL_MS, _FIRE_MS})
# Keys of the head of a part
_RUN, _PART = 1, 2
# Keys of the result head
_OUTCOME, _NOT_KEPT, _TRIES, _STARTED_MS, _FINISHED_MS, _WORKER, _ENQUEUED_MS = 1, 2, 4, 5, 6, 7, 8


class Outcome(IntEnum):
    """How a task ended."""

    DONE = 1
    FAILED = 2
    ABORTED = 3


class SealedKeys(NamedTuple):
    """What is sealed of the keys of a call; None where it has no such key."""

    unique: str | None
    """What counts as another one of its key, a colon, and the digest of that key."""
    line: str | None
    """The line that it stands in: a letter for the kind and a digest."""


class TaskHead(NamedTuple):
    """What one enqueue says differently from the task's own options; None means "as the task says"."""

    max_tries: int | None = None
    timeout_ms: int | None = None
    ttl_ms: int | None = None
    priority: str | None = None
    fire_ms: int | None = None
    """The moment of the firing that it runs for, if a schedule enqueued it."""
    headers: Mapping[str, str] | None = None
    """What the caller sent along."""
    unique: str | None = None
    line: str | None = None
    """These two: see ``SealedKeys``."""
    lineage: Lineage | None = None
    """Its place in a workflow, if it has one."""

    @classmethod
    def of(
        cls,
        options: CallOptions,
        priority: str | None,
        lineage: Lineage | None = None,
        keys: SealedKeys | None = None,
    ) -> TaskHead:
        """The head of a call; *priority* is None for the lowest."""
        headers = dict(options.headers) or None
        max_tries, timeout_ms, ttl_ms = options.max_tries, options.timeout_ms, options.ttl_ms
        unique, line = keys or (None, None)
        return cls(max_tries, timeout_ms, ttl_ms, priority, None, headers, unique, line, lineage)

    def pack(self) -> bytes:
        """The bytes of this head; none if nothing is set."""
        if self == NOTHING_SET:
            return b""
        keys = (_MAX_TRIES, _TIMEOUT_MS, _TTL_MS, _PRIORITY, _FIRE_MS, _HEADERS, _UNIQUE, _LINE, _LINEAGE)
        lineage = None if self.lineage is None else self.lineage.to_plain()
        fields: dict[int, Any] = dict(zip(keys, (*self[:-1], lineage), strict=True))
        return pack_plain({key: value for key, value in fields.items() if value is not None})

    @classmethod
    def unpack(cls, untrusted: bytes) -> TaskHead:
        """Read a head strictly: known keys, right types, or ``Rejected``."""
        if not untrusted:
            return NOTHING_SET
        fields = _map(untrusted)
        if not fields.keys() <= _TASK_INTS | {_PRIORITY, _HEADERS, _UNIQUE, _LINE, _LINEAGE}:
            raise Rejected("malformed")
        numbers = {key: _int(fields[key]) for key in _TASK_INTS & fields.keys()}
        priority = _text(fields[_PRIORITY]) if _PRIORITY in fields else None
        headers = _texts(fields[_HEADERS]) if _HEADERS in fields else None
        unique = _text(fields[_UNIQUE]) if _UNIQUE in fields else None
        line = _text(fields[_LINE]) if _LINE in fields else None
        lineage = Lineage.from_plain(fields[_LINEAGE]) if _LINEAGE in fields else None
        get = numbers.get
        return cls(
            get(_MAX_TRIES), get(_TIMEOUT_MS), get(_TTL_MS), priority, get(_FIRE_MS), headers, unique, line, lineage
        )


NOTHING_SET: Final = TaskHead()


class ResultHead(NamedTuple):
    """How a task ended, after how many tries, when and where."""

    outcome: Outcome
    tries: int
    started_ms: int
    finished_ms: int
    enqueued_ms: int
    worker: str
    kept: bool = True
    """False in the mark that stands for a result that is not kept."""

    def pack(self) -> bytes:
        """The bytes of this head."""
        outcome, tries, started_ms, finished_ms, enqueued_ms, worker, kept = self
        fields = {
            _OUTCOME: int(outcome),
            _TRIES: tries,
            _STARTED_MS: started_ms,
            _FINISHED_MS: finished_ms,
            _WORKER: worker,
            _ENQUEUED_MS: enqueued_ms,
        }
        return pack_plain(fields if kept else fields | {_NOT_KEPT: True})

    @classmethod
    def unpack(cls, untrusted: bytes) -> ResultHead:
        """Read a head strictly: every key, right types, or ``Rejected``."""
        match _map(untrusted):
            case {1: outcome, 4: tries, 5: started_ms, 6: finished_ms, 7: worker, 8: enqueued_ms, **more} if (
                not more or (more.keys() == {_NOT_KEPT} and more[_NOT_KEPT] is True)
            ):
                pass
            case _:
                raise Rejected("malformed")
        if type(outcome) is not int or outcome not in _OUTCOMES:
            raise Rejected("malformed")
        return cls(
            _OUTCOMES[outcome],
            _int(tries),
            _int(started_ms),
            _int(finished_ms),
            _int(enqueued_ms),
            _text(worker),
            not more,
        )


class PartHead(NamedTuple):
    """What a task says before its end: to which run it belongs, and which part of the result it is, or no part at all."""

    run: bytes
    part: int | None = None

    def pack(self) -> bytes:
        """The bytes of this head."""
        return pack_plain({_RUN: self.run} if self.part is None else {_RUN: self.run, _PART: self.part})

    @classmethod
    def unpack(cls, untrusted: bytes) -> PartHead:
        """Read a head strictly, or ``Rejected``."""
        match _map(untrusted):
            case {1: bytes(run), **more} if more.keys() <= {_PART}:
                return cls(run, _int(more[_PART]) if more else None)
        raise Rejected("malformed")


_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}


def _map(untrusted: bytes) -> dict[Any, Any]:
    fields = unpack_plain(untrusted)
    if type(fields) is not dict:
        raise Rejected("malformed")
    return fields


def _int(untrusted: object) -> int:
    if type(untrusted) is not int or not 0 <= untrusted <= _MAX_INT:
        raise Rejected("malformed")
    return untrusted


def _text(untrusted: object) -> str:
    if type(untrusted) is not str or len(untrusted) > _MAX_TEXT:
        raise Rejected("malformed")
    return untrusted


def _texts(untrusted: object) -> dict[str, str]:
    if type(untrusted) is not dict or not all(type(text) is str for pair in untrusted.items() for text in pair):
        raise Rejected("malformed")
    return untrusted
