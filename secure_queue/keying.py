"""What the keys of a call are: values chosen from its arguments, and the digests that stand for them in the database.

Pure rules. Only digests reach the database, so that no argument can be read there; who can guess a value can make its
digest too. Equal values have equal digests on every machine and in every release.
"""

from __future__ import annotations

import binascii
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from secure_queue.errors import ConfigurationError
from secure_queue.spelling import PLAIN, canonical

_DIGITS: Final = 32


class Scope(StrEnum):
    """Which other task of a key stands in the way of a new one."""

    QUEUED = "queued"
    UNFINISHED = "unfinished"


class OnConflict(StrEnum):
    """What becomes of a call whose key is taken."""

    SKIP = "skip"
    RAISE = "raise"
    REPLACE = "replace"
    WAIT = "wait"


class ByNames(NamedTuple):
    """These parameters of the call."""

    names: tuple[str, ...]


class ByCall(NamedTuple):
    """What a function makes of the arguments of the call."""

    function: Callable[..., object]


class Given(NamedTuple):
    """A text that the call itself brings."""

    text: str


KeyRule: TypeAlias = ByNames | ByCall | Given


@dataclass(frozen=True, slots=True)
class Keying:
    """Which keys the calls of a task have, and what follows from them; durations in seconds, 0 for none."""

    alone: bool = False
    """Whether one of them runs at a time, and one that gets its turn meanwhile fails."""
    scope: Scope | None = None
    unique_key: KeyRule | None = None
    window_s: float = 0.0
    throttle_s: float = 0.0
    quiet_s: float = 0.0
    longest_s: float = 0.0
    on_conflict: OnConflict = OnConflict.SKIP
    order_by: KeyRule | None = None
    fair_by: KeyRule | None = None
    signature: inspect.Signature | None = field(default=None, repr=False, compare=False)
    """Of the function, if that is known: so a call has one key, however its arguments are passed."""

    @property
    def is_unique(self) -> bool:
        """Whether another task may stand in the way of a call when it is enqueued."""
        return self.scope is not None or max(self.window_s, self.throttle_s, self.quiet_s) > 0

    @property
    def decides_enqueue(self) -> bool:
        """Whether a call must be enqueued by its keys."""
        return self.is_unique or self.order_by is not None or self.fair_by is not None


NO_KEYS: Final = Keying()


class Keys(NamedTuple):
    """The digests of one call; empty where it has no such key. The checksums choose a partition."""

    unique: bytes
    line: bytes
    checksums: frozenset[int]


def keys_of(keying: Keying, queue: str, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Keys:
    """The keys of one call; raises ``ConfigurationError`` for a value that cannot be told apart from others."""
    unique = line = b""
    values = []
    if keying.is_unique:
        values.append(_unique_value(keying, args, kwargs))
        unique = _digest("unique", queue, function, values[0])
    if keying.on_conflict is OnConflict.WAIT:
        return Keys(b"", b"o" + _digest("wait", queue, function, values[0]), _checksums(values))
    rule, kind = (keying.order_by, b"o") if keying.order_by is not None else (keying.fair_by, b"f")
    if rule is not None:
        values.append(_chosen(rule, keying.signature, args, kwargs))
        line = kind + _digest("line", queue, "", values[-1])
    return Keys(unique, line, _checksums(values))


def _checksums(values: Sequence[str]) -> frozenset[int]:
    return frozenset(binascii.crc_hqx(value.encode("utf-8", "surrogatepass"), 0) for value in values)


def seat_of(keying: Keying, queue: str, function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The digest of the seat that a call takes while it runs: one for each function, or for each of its unique keys."""
    rule = keying.unique_key
    value = "" if rule is None else _chosen(rule, keying.signature, args, kwargs)
    return _digest("seat", queue, function, value)


def turn_of(keying: Keying, queue: str, arguments: tuple[Sequence[Any], Mapping[str, Any]]) -> bytes:
    """The digest of the key that takes turns with others (``fair_by=``) where a call waits for a limit, if it has one."""
    if keying.fair_by is None:
        return b""
    return _digest("turn", queue, "", _chosen(keying.fair_by, keying.signature, *arguments))


def _unique_value(keying: Keying, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Without a rule calls with other arguments are others; those that are only spaced out in time are all alike."""
    if keying.unique_key is not None:
        return _chosen(keying.unique_key, keying.signature, args, kwargs)
    if keying.quiet_s or keying.throttle_s:
        return ""
    return canonical(_bound(keying.signature, args, kwargs))


def _chosen(rule: KeyRule, signature: inspect.Signature | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    match rule:
        case Given(text):
            return canonical(text)
        case ByCall(function):
            return canonical(function(*args, **kwargs))
        case ByNames(names):
            bound = _bound(signature, args, kwargs)
            if not isinstance(bound, dict) or not all(name in bound for name in names):
                raise ConfigurationError(
                    f"a call of this task has no {', '.join(names)}; choose a key that every call has, and pass it by name "
                    "where the function is not imported"
                )
            return canonical({name: bound[name] for name in names})


def _bound(signature: inspect.Signature | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
    """The arguments by parameter, with plain defaults; as they are where nobody knows the parameters."""
    if signature is None:
        return [list(args), dict(kwargs)] if args else dict(kwargs)
    try:
        bound = signature.bind_partial(*args, **kwargs).arguments
    except TypeError as error:
        raise ConfigurationError(f"the arguments do not fit the function: {error}") from None
    defaults = {name: one.default for name, one in signature.parameters.items() if isinstance(one.default, PLAIN)}
    return {**defaults, **bound}


def _digest(purpose: str, queue: str, function: str, value: str) -> bytes:
    text = "\0".join(("secure_queue/v1/key", purpose, queue, function, value))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS].encode()
