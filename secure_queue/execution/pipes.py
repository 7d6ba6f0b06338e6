"""What a worker and its processes say to each other, and the door for pickle between them.

Both ends run the code of the application with the same rights; nothing that is stored in Redis passes here unopened.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import replace
from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple, cast

from secure_queue.errors import CannotCross
from secure_queue.importable import Reference
from secure_queue.payload.failures import describe
from secure_queue.task_facts import TaskContext

HEADER: Final = Struct(">BQ")
MOST_BYTES: Final = 256 << 20
"""Of one message; more belongs into a file or a store."""


class Kind(IntEnum):
    """What a message is."""

    JOB = 1
    VALUE = 2
    """What the function returned."""
    PROBLEM = 3
    """What it raised."""
    NO_VALUE = 4
    """It returned something that cannot be sent."""
    EXTEND = 5
    """It asks for more time."""
    LOAD = 6
    READY = 7
    """The function is loaded."""


class Load(NamedTuple):
    """The wish to import a function, before its time begins."""

    reference: Reference
    path: list[str]
    """Where modules are looked for."""
    main: str | None
    """The file of the program, whose functions a process finds under ``__mp_main__``."""


class Job(NamedTuple):
    """One call; the limits are in seconds from now."""

    reference: Reference
    args: list[Any]
    kwargs: dict[str, Any]
    context: TaskContext
    timeout_s: float | None
    soft_s: float | None
    longest_s: float | None


class _Trace(Exception):
    """The traceback of the other process as text; it travels as the cause of what was raised there."""


class _StandIn(NamedTuple):
    """An exception that cannot be sent, or not be read: its name and its words, and what of it can be imported."""

    module: str
    qualname: str
    base: type[BaseException]
    text: str

    def exception(self) -> BaseException:
        """One of the same name and words, which is caught and tried again as the other would be."""
        names = {"__module__": self.module, "__qualname__": self.qualname, "__str__": lambda error: self.text}
        made: type[BaseException] = type(self.qualname.rpartition(".")[2], (self.base,), names)
        return made.__new__(made, self.text)  # without __init__, which may want what is not known here


def _stand_in(problem: BaseException) -> _StandIn:
    kind = type(problem)
    base = next((one for one in kind.__mro__ if _can_be_imported(one)), Exception)
    return _StandIn(str(kind.__module__), str(kind.__qualname__), base, describe(problem).message)


def _can_be_imported(kind: type) -> bool:
    try:
        return pickle.loads(pickle.dumps(kind)) is kind
    except Exception:  # what cannot be named so stays where it is
        return False


def job_message(job: Job) -> bytes:
    """A call on its way down; raises ``CannotCross`` for arguments that cannot be sent."""
    plain = replace(job.context, headers=dict(job.context.headers))
    try:
        return _message(Kind.JOB, pickle.dumps(job._replace(context=plain), pickle.HIGHEST_PROTOCOL))
    except CannotCross:
        raise
    except Exception as error:  # the values of the application pickle themselves
        raise CannotCross(f"an argument cannot be sent to a process: {_kind_of(error)}") from error


def load_message(load: Load) -> bytes:
    """The wish to import a function."""
    return _message(Kind.LOAD, pickle.dumps(load))


def ready_message() -> bytes:
    """The answer to that."""
    return _message(Kind.READY, b"")


def extend_message(by_s: float) -> bytes:
    """The wish for more time."""
    return _message(Kind.EXTEND, pickle.dumps(by_s))


def value_message(value: object) -> bytes:
    """What a function returned, or why that cannot be sent."""
    try:
        return _message(Kind.VALUE, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        text = f"what the function returned cannot leave its process: {_kind_of(error)}"
        return _message(Kind.NO_VALUE, pickle.dumps(text))


def problem_message(problem: BaseException) -> bytes:
    """What a function raised, with its traceback as text; for an exception that cannot be sent another one stands in."""
    trace = "".join(traceback.format_exception(problem))
    try:
        body = pickle.dumps((problem, trace), pickle.HIGHEST_PROTOCOL)
        pickle.loads(body)  # many exceptions can be written and not be read
        return _message(Kind.PROBLEM, body)
    except Exception:
        return _message(Kind.PROBLEM, pickle.dumps((_stand_in(problem), trace)))


def read_header(header: bytes) -> tuple[Kind, int]:
    """The kind and the length of the message that follows; raises ``ValueError``."""
    kind, length = HEADER.unpack(header)
    if length > MOST_BYTES:
        raise ValueError("a message that is too long")
    return Kind(kind), length


def read_body(body: bytes) -> Any:
    """What a message holds."""
    return pickle.loads(body)


def problem_of(body: bytes) -> BaseException:
    """What a function raised in its process; raises ``CannotCross`` if it cannot be read here."""
    try:
        sent, trace = read_body(body)
        problem = sent.exception() if isinstance(sent, _StandIn) else sent
        problem.__cause__ = _Trace(trace)
    except Exception as error:
        raise CannotCross(f"what the function raised cannot be read here: {_kind_of(error)}") from error
    return cast("BaseException", problem)


def value_of(body: bytes) -> Any:
    """What a function returned; raises ``CannotCross`` if it cannot be read here."""
    try:
        return read_body(body)
    except Exception as error:
        raise CannotCross(f"what the function returned cannot be read here: {_kind_of(error)}") from error


def _message(kind: Kind, body: bytes) -> bytes:
    if len(body) > MOST_BYTES:
        raise CannotCross(
            f"more than {MOST_BYTES >> 20} MiB cannot be passed to or from a process; pass a place instead"
        )
    return HEADER.pack(kind, len(body)) + body


def _kind_of(error: BaseException) -> str:
    """Its class alone: the words of the error may repeat the value."""
    return type(error).__name__
