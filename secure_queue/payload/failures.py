"""Exceptions as data: described where they happen, rebuilt as plain text where they are asked for.

A type name from the wire is compared with the names that the caller registered and never imported or looked up in a
module, so that a stored result cannot name ``os.system`` and have it called.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from secure_queue.errors import Rejected, TaskFailed

MAX_MESSAGE_BYTES: Final = 4 << 10
MAX_TRACEBACK_BYTES: Final = 16 << 10
MAX_CHAIN: Final = 8
_MAX_TYPE_BYTES: Final = 255
_MAX_FRAMES: Final = 64
_UNNAMEABLE: Final = "Exception"
_CUT: Final = "[…]"


@dataclass(frozen=True, slots=True)
class Cause:
    """One exception behind another, by name and message."""

    type_name: str
    message: str


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as data; the chain holds what it was raised from, nearest first."""

    type_name: str
    message: str
    traceback: str = ""
    chain: tuple[Cause, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """The failure as plain data, for any serializer."""
        return {
            "type": self.type_name,
            "message": self.message,
            "traceback": self.traceback,
            "chain": [[cause.type_name, cause.message] for cause in self.chain],
        }


def describe(error: BaseException) -> Failure:
    """Describe any exception, even one whose methods misbehave. The traceback shows code and no local values."""
    return Failure(
        type_name=type_name(type(error)),
        message=_message(error),
        traceback=_traceback(error),
        chain=tuple(Cause(type_name(type(cause)), _message(cause)) for cause in _causes(error)),
    )


def type_name(cls: type) -> str:
    """The name under which an exception class travels: qualified, and bare for builtins."""
    try:
        module, name = str(cls.__module__), str(cls.__qualname__)
    except BaseException:
        return _UNNAMEABLE
    return _cut_end(_clean(name if module == "builtins" else f"{module}.{name}"), _MAX_TYPE_BYTES)


def from_plain(untrusted: object) -> Failure:
    """Read what ``Failure.to_plain`` wrote; raise ``Rejected`` for anything else."""
    match untrusted:
        case {"type": str(name), "message": str(message), "traceback": str(trace), "chain": list(chain)}:
            pass
        case _:
            raise Rejected("malformed")
    if len(chain) > MAX_CHAIN:
        raise Rejected("malformed")
    causes = tuple(_cause_from_plain(cause) for cause in chain)
    return Failure(
        _within(name, _MAX_TYPE_BYTES), _within(message, MAX_MESSAGE_BYTES), _within(trace, MAX_TRACEBACK_BYTES), causes
    )


def rebuild(failure: Failure, known_errors: Mapping[str, type[BaseException]]) -> BaseException:
    """Make the exception to raise for a failure: of a class that the caller registered, or ``TaskFailed``.

    A registered class is called with the message and nothing else; if it refuses, ``TaskFailed`` takes its place.
    """
    cls = known_errors.get(failure.type_name)
    if cls is not None:
        try:
            error = cls(failure.message)
        except Exception:
            cls = None  # it wants other arguments than a message
        else:
            return error
    return TaskFailed(failure.type_name, failure.message, failure.traceback)


def _cause_from_plain(untrusted: object) -> Cause:
    match untrusted:
        case [str() as name, str() as message]:
            return Cause(_within(name, _MAX_TYPE_BYTES), _within(message, MAX_MESSAGE_BYTES))
    raise Rejected("malformed")


def _within(text: str, max_bytes: int) -> str:
    if len(text) > max_bytes or len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise Rejected("malformed")
    return text


def _message(error: BaseException) -> str:
    try:
        text = _clean(str(error))
    except BaseException:  # the exception's own code runs here, and a worker must survive it
        return "(the message of this exception could not be made)"
    return _cut_end(text, MAX_MESSAGE_BYTES)


def _traceback(error: BaseException) -> str:
    try:
        frames = traceback.extract_tb(error.__traceback__, limit=-_MAX_FRAMES)
        text = _clean("".join(frames.format()))
    except BaseException:  # source lines come through loaders, which are other people's code
        return ""
    return _cut_start(text, MAX_TRACEBACK_BYTES)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Follow causes, contexts and members of groups, each exception once, at most ``MAX_CHAIN`` of them."""
    seen = {id(error)}
    waiting = _direct_causes(error)
    while waiting and len(seen) <= MAX_CHAIN:
        cause = waiting.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            waiting.extend(_direct_causes(cause))
            yield cause


def _direct_causes(error: BaseException) -> list[BaseException]:
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    members = getattr(error, "exceptions", ()) if issubclass(type(error), BaseExceptionGroup) else ()
    return [*([behind] if behind is not None else []), *members[:MAX_CHAIN]]


def _clean(text: str) -> str:
    """An exact str without lone surrogates, whatever ``__str__`` returned."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _cut_end(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _cut_start(text: str, max_bytes: int) -> str:
    """Keep the end: the innermost frames say most."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return _CUT + encoded[len(encoded) - max_bytes + len(_CUT.encode()) :].decode(errors="ignore")
