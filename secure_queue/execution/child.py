"""The process in which sync functions with ``process=True`` run, one after the other: ``python -m`` this module.

It has no connection to Redis and none of the keys of its worker. It ends when the worker is gone, also in the middle of a
function. What functions print goes to stderr, because stdout is the way back.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any, BinaryIO

from secure_queue.errors import CannotCross, SoftTimeout
from secure_queue.execution.pipes import (
    HEADER,
    Job,
    Kind,
    Load,
    extend_message,
    problem_message,
    read_body,
    read_header,
    ready_message,
    value_message,
)
from secure_queue.execution.shutdown import Alarm
from secure_queue.importable import Reference
from secure_queue.task_facts import TaskContext
from secure_queue.tasks import RegisteredTask, current_run
from secure_queue.time_limits import TimeLimits

MAIN, LOADED_MAIN = "__main__", "__mp_main__"


class Call:
    """The run for which a function is called here, as far as it can be known."""

    call = None

    def __init__(self, job: Job, way_back: BinaryIO) -> None:
        self.limits: TimeLimits | None = TimeLimits(job.timeout_s, job.soft_s, job.longest_s)
        self._time = self.limits
        self._context = job.context
        self._way_back = way_back
        self.alarm = Alarm(SoftTimeout)

    def context(self) -> TaskContext:
        """What the task may know about this run."""
        return self._context

    def set_alarm(self) -> None:
        """Interrupt the function at the soft limit."""
        self.alarm.set(self._time.soft_left())

    def extend_timeout(self, by_s: float) -> float:
        """Put the limits off, here and in the worker."""
        _send(self._way_back, extend_message(self._time.extend(by_s)))
        self.set_alarm()
        return self._time.left()


def main() -> None:
    """Answer one call after the other."""
    orders, way_back = _take_the_pipes()
    waiting: SimpleQueue[tuple[Kind, bytes]] = SimpleQueue()
    threading.Thread(target=_listen, args=(orders, waiting), name="secure-queue-orders", daemon=True).start()
    while True:
        kind, body = waiting.get()
        _send(way_back, _load(body) if kind is Kind.LOAD else _answer(body, way_back))


def _take_the_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for ourselves: what functions read is empty, what they print goes to stderr."""
    orders, way_back = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return orders, way_back


def _listen(orders: BinaryIO, waiting: SimpleQueue[tuple[Kind, bytes]]) -> None:
    """Take in orders; their end is the end of this process, whatever it does."""
    with suppress(OSError):
        while header := orders.read(HEADER.size):
            kind, length = read_header(header)
            waiting.put((kind, orders.read(length)))
    os._exit(0)


def _send(way_back: BinaryIO, message: bytes) -> None:
    try:
        way_back.write(message)
        way_back.flush()
    except OSError:  # nobody reads any more
        os._exit(0)


def _load(body: bytes) -> bytes:
    try:
        load: Load = read_body(body)
        sys.path[:] = load.path
        if load.reference.module == MAIN:
            _load_main(load.main)
        _function(load.reference)
    except BaseException as error:
        return _not_loaded("the function", error)
    return ready_message()


def _not_loaded(what: str, error: BaseException) -> bytes:
    problem = CannotCross(f"{what} cannot be loaded in a process: {type(error).__name__}")
    problem.__cause__ = error
    return problem_message(problem)


def _answer(body: bytes, way_back: BinaryIO) -> bytes:
    try:
        job: Job = read_body(body)
        function = _function(job.reference)
    except BaseException as error:
        return _not_loaded("an argument", error)
    call = Call(job, way_back)
    current_run.set(call)
    try:
        with call.alarm:
            call.set_alarm()
            value = function(*job.args, **job.kwargs)
        return value_message(value)
    except BaseException as error:
        return problem_message(error)


def _function(reference: Reference) -> Any:
    found: Any = importlib.import_module(reference.module)
    for word in reference.qualname.split("."):
        found = getattr(found, word)
    return found.fn if isinstance(found, RegisteredTask) else found


def _load_main(path: str | None) -> None:
    """The program of the worker under another name, so that what stands under its ``if __name__`` is not run."""
    if LOADED_MAIN in sys.modules:
        return
    if path is None or not Path(path).is_file():
        raise CannotCross("the program of the worker has no file that a process could load")
    module = ModuleType(LOADED_MAIN)
    sys.modules[MAIN] = sys.modules[LOADED_MAIN] = module
    vars(module).update(runpy.run_path(path, run_name=LOADED_MAIN))


if __name__ == MAIN:
    main()
