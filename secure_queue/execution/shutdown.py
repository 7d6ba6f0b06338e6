"""Signals: the first asks a worker to stop in peace, the next to stop now; SIGHUP asks it to look at its key file.

The only place that knows signals. A process that runs functions for a worker has an ``Alarm`` for their soft limit.

For workers a handler only counts; each looks at its count now and then, in its own event loop. So several workers, in one
loop or in several, share the signals of a process, and in the end the handlers of the host are put back. A program that
owns its process, as the supervisor does, has ``on_signals``.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
from anyio.abc import TaskStatus

from secure_queue.errors import ConfigurationError

SOON_S = 1e-6
ENOUGH = 2
"""Signals that a worker understands: stop in peace, stop now."""
TO_END = ("SIGINT", "SIGTERM")
TO_READ_KEYS = ("SIGHUP",)
HANGUP: Final[signal.Signals] = getattr(
    signal, "SIGHUP", signal.SIGTERM
)  # where there is none, nobody will ever send it

NEVER_HANDLED = ("SIGKILL", "SIGSTOP")

_log = logging.getLogger("secure_queue.worker")


def signals_to_end(wanted: bool | Iterable[int]) -> tuple[int, ...]:
    """The numbers of the signals that end a worker; raises ``ConfigurationError`` for what can be no handled signal.

    True: SIGINT and SIGTERM. False: none, like an empty list.
    """
    if isinstance(wanted, bool):
        return tuple(_numbers(TO_END)) if wanted else ()
    try:
        numbers = [signal.Signals(number) for number in wanted]
    except (TypeError, ValueError):
        raise ConfigurationError(
            "handle_signals= is True (SIGINT and SIGTERM), False, or a list of signals, for example [signal.SIGTERM]"
        ) from None
    for number in numbers:
        if number.name in NEVER_HANDLED:
            raise ConfigurationError(f"{number.name} cannot be handled by any process; take it out of handle_signals=")
    return tuple(dict.fromkeys(numbers))


class Signals:
    """How many signals of *to_end* one worker has received, and the name of the last one."""

    def __init__(self, to_end: Collection[int] = ()) -> None:
        self.to_end = to_end
        self.received = 0
        self.last = ""
        self._hangups = 0

    def hang_up(self) -> None:
        """A SIGHUP has come."""
        self._hangups += 1

    def take_hangups(self) -> int:
        """How many SIGHUPs have come since the last call."""
        taken, self._hangups = self._hangups, 0
        return taken


_listeners: list[Signals] = []
_hosts_handlers: dict[int, Any] = {}


@contextmanager
def received_signals(to_end: Collection[int], hangups: bool) -> Iterator[Signals]:
    """Count the signals *to_end* for the time of the context, if there are any and this thread can receive them.

    SIGHUP is counted with *hangups* only: without a key file it ends a process, as the host has it.
    """
    signals = Signals(to_end)
    if not to_end or threading.current_thread() is not threading.main_thread():
        yield signals
        return
    _listeners.append(signals)
    for number in {*to_end, *(_numbers(TO_READ_KEYS) if hangups else ())}:
        if len(_listeners) == 1 or (number not in _hosts_handlers and _hosts_handlers):
            _hosts_handlers[number] = signal.signal(number, _count)
    try:
        yield signals
    finally:
        _listeners.remove(signals)
        if not _listeners:
            _put_back()


def _count(number: int, _frame: object) -> None:
    name = signal.Signals(number).name
    for listener in _listeners:
        if number in listener.to_end:
            listener.received += 1
            listener.last = name
        elif name in TO_READ_KEYS:
            listener.hang_up()
    if all(listener.received >= ENOUGH for listener in _listeners):
        _put_back()  # a further one must end even a process whose event loop is blocked


def _put_back() -> None:
    for number, handler in _hosts_handlers.items():
        signal.signal(number, handler)
    _hosts_handlers.clear()


def _after_fork() -> None:
    """What a task forks (``multiprocessing``) is no worker: it ends by its signals as any process does."""
    _listeners.clear()
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _numbers(wanted: Sequence[str]) -> Sequence[signal.Signals]:
    return [getattr(signal, name) for name in wanted if hasattr(signal, name)]


class Alarm:
    """Raises *error* in the main thread of this process, inside the context, at a moment that can be moved."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self._inside = False

    def __enter__(self) -> None:
        self._inside = True
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, self._ring)

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self.set(math.inf)

    def set(self, in_s: float) -> None:
        """Ring in so many seconds; never, if that is for ever. Where there are no alarms, nothing happens."""
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, 0 if in_s == math.inf else max(in_s, SOON_S))

    def _ring(self, _number: int, _frame: object) -> None:
        if self._inside:
            raise self._error


async def on_signals(
    act: Callable[[], None], wanted: Sequence[str], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Call *act* at every signal of *wanted*, for ever."""
    with anyio.open_signal_receiver(*_numbers(wanted)) as signals:
        task_status.started()
        async for number in signals:
            _log.info("received %s", signal.Signals(number).name)
            act()
