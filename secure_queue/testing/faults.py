"""Faults that a test wants: which call meets which one, and what it then goes through.

A call is known by the name of its script (``enqueue``, ``claim``, ``complete``, …), or of its command in lower case
(``subscribe`` for the listener). What happens to a call happens below the loop that repeats it, so that this loop, and
the idempotent scripts behind it, are the ones that the application has in production.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from time import monotonic
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

from secure_queue.errors import ConfigurationError
from secure_queue.settings import positive_seconds

T = TypeVar("T")
Call = Callable[[], Awaitable[Any]]

REPLY_TIMEOUT_S = 4.0
"""Longer than so many seconds no reply is waited for."""


class Kind(StrEnum):
    """What happens to a call."""

    REFUSED = "refused"
    LOST = "lost"
    CUT = "cut"
    LATE = "late"


@dataclass(slots=True)
class _Fault:
    kind: Kind
    verb: str | None
    left: float
    """How many calls it still meets."""
    seconds: float = field(default=0.0)


class Line(Protocol):
    """One link, as far as it can be broken."""

    def drop(self) -> None:
        """Break every connection; to be called in the link's own event loop."""
        ...

    async def begin(self, call: Call) -> None:
        """Do of *call* what comes before its connection is cut."""
        ...

    def from_elsewhere(self, function: Callable[[], None]) -> None:
        """Have *function* called in the link's own event loop, from any thread."""
        ...


class Faults:
    """The faults of one ``TestWorker``. All of them may be set from the test at any time; none happens by itself."""

    def __init__(self, patience: float) -> None:
        self._faults: list[_Fault] = []
        self._lines: WeakSet[Line] = WeakSet()
        self._lock = threading.Lock()
        self.patience = patience
        """After so many seconds without an answer a call gives up (``Unavailable``), if its own deadline is not earlier."""
        self.met: list[tuple[str, str]] = []
        """What has happened: pairs of a kind (refused, lost, cut, late) and the call."""

    def refuse(self, verb: str | None = None, *, times: float = float("inf")) -> None:
        """Refuse connections, to all calls or to *verb*, until ``heal``: nothing reaches the server."""
        self._add(_Fault(Kind.REFUSED, verb, times))

    def lose_reply(self, verb: str | None = None, *, times: float = 1) -> None:
        """Let the call take effect, and lose its reply together with the connection."""
        self._add(_Fault(Kind.LOST, verb, times))

    def cut(self, verb: str | None = None, *, times: float = 1) -> None:
        """Cut the connection in the middle of the call.

        Whether the call takes effect is decided by a race, as it is in life; in memory it never does.
        """
        self._add(_Fault(Kind.CUT, verb, times))

    def delay(self, seconds: float, verb: str | None = None, *, times: float = float("inf")) -> None:
        """Let the call take effect, and its reply come so many (real) seconds later, until ``heal``.

        A reply that is more than four seconds late, or later than the deadline, counts as none.
        """
        self._add(_Fault(Kind.LATE, verb, times, positive_seconds("seconds", seconds, zero=True)))

    def heal(self) -> None:
        """Take back all faults that have not happened."""
        with self._lock:
            self._faults.clear()

    async def break_connections(self) -> None:
        """Break all connections at this moment: waiting calls, subscriptions, and whatever is under way."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with suppress(RuntimeError):  # its loop has ended, and its connections with it
                line.from_elsewhere(line.drop)
        await checkpoint()

    def _add(self, fault: _Fault) -> None:
        if fault.verb is not None and fault.verb not in _verbs():
            raise ConfigurationError(f"no call is named {fault.verb!r}; use one of {', '.join(sorted(_verbs()))}")
        if isinstance(fault.left, bool) or not isinstance(fault.left, (int, float)) or not fault.left >= 1:
            raise ConfigurationError(f"times= is how many calls meet it, from 1 on, not {fault.left!r}; heal() ends it")
        with self._lock:
            self._faults.append(fault)

    def watch(self, line: Line) -> None:
        """Know *line*, as long as it lives."""
        with self._lock:
            self._lines.add(line)

    def _next(self, verb: str) -> _Fault | None:
        """The fault that the next call of *verb* meets, if any; the one that was set first comes first."""
        with self._lock:
            found = next((one for one in self._faults if one.verb in (None, verb)), None)
            if found is not None:
                self.met.append((found.kind.value, verb))
                found.left -= 1
                if found.left <= 0:
                    self._faults.remove(found)
            return found

    async def around(self, verb: str, call: Callable[[], Awaitable[T]], line: Line, end: float) -> T:
        """Do *call*, with what is to happen to it, until *end* (monotonic seconds) at the latest."""
        fault = self._next(verb)
        match fault and fault.kind:
            case Kind.REFUSED:
                line.drop()
                raise ConnectionRefusedError("a fault that the test wants: connection refused")
            case Kind.CUT:
                await line.begin(call)
                raise ConnectionResetError("a fault that the test wants: connection cut in the middle of a call")
            case Kind.LOST:
                await call()
                line.drop()
                raise ConnectionResetError("a fault that the test wants: the reply was lost")
        reply = await call()
        if fault is not None:
            await _late(fault.seconds, end)
        return reply


async def _late(seconds: float, end: float) -> None:
    left = min(end - monotonic(), REPLY_TIMEOUT_S)
    await anyio.sleep(max(0.0, min(seconds, left)))
    if seconds > left:
        raise TimeoutError("a fault that the test wants: the reply came too late")


def _verbs() -> set[str]:
    """The names by which calls are known."""
    scripts = resources.files("secure_queue.redis").joinpath("lua").iterdir()
    names = {file.name.removesuffix(".lua") for file in scripts if not file.name.startswith("_")}
    return names | {"subscribe", "ping"}
