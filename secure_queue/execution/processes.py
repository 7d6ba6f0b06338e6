"""Runs sync functions in processes, never more than so many at once; each process is used again for the next call.

A process that is given up, by a timeout or an abort, is killed. One that dies fails the call that it was busy with. As many
calls as there are places may wait for one; further ones are turned away, so that other workers can run them, unless the
worker is *patient*: it shall leave nothing.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from secure_queue.errors import CannotCross, ProcessDied
from secure_queue.execution.calls import NoThread, Raised
from secure_queue.execution.pipes import (
    HEADER,
    Job,
    Kind,
    Load,
    job_message,
    load_message,
    problem_of,
    read_body,
    read_header,
    value_of,
)
from secure_queue.execution.runs import Run
from secure_queue.importable import Reference

END_S: Final = 5.0
LOAD_S: Final = 60.0
COMMAND: Final = (sys.executable, "-m", "secure_queue.execution.child")

_log = logging.getLogger("secure_queue.worker")


class _Child:
    """One process, and the two pipes to it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.ended = False
        self.loaded: set[Reference] = set()
        self._orders = cast("ByteSendStream", process.stdin)  # both are pipes
        self._answers = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))

    async def ask(self, message: bytes, on_extend: Callable[[float], object]) -> tuple[Kind, bytes]:
        await self._orders.send(message)
        while True:
            kind, length = read_header(await self._answers.receive_exactly(HEADER.size))
            body = await self._answers.receive_exactly(length)
            if kind is not Kind.EXTEND:
                return kind, body
            on_extend(float(read_body(body)))

    async def end(self) -> int | None:
        """Kill it, if it still lives, and wait for its end."""
        self.ended = True
        with anyio.move_on_after(END_S, shield=True):
            if self.process.returncode is None:
                with suppress(ProcessLookupError):
                    self.process.kill()
            await self.process.aclose()
        return self.process.returncode


class Processes:
    """At most *limit* calls at once; a context manager, at whose end every process has ended."""

    def __init__(self, limit: int, environment: Callable[[], Mapping[str, str]], *, patient: bool = False) -> None:
        self._most_waiting = math.inf if patient else limit
        self._environment = environment
        self._places = anyio.Semaphore(limit)
        self._waiting: set[anyio.CancelScope] = set()
        self._idle: list[_Child] = []
        self.closed = False
        """Whether everybody is turned away, because the worker stops."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        idle, self._idle = self._idle, []
        for child in idle:
            await child.end()

    def close(self) -> None:
        """Turn away who waits for a place, and everybody who comes."""
        self.closed = True
        for patience in self._waiting:
            patience.cancel()

    async def call(
        self,
        run: Run,
        reference: Reference,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        on_start: Callable[[], None],
    ) -> Any:
        """Wait for a place and give what the function returns in its process.

        Raises ``Raised`` with what it raises, ``CannotCross``, ``ProcessDied``, and ``NoThread`` if there is no place soon.
        *on_start* is called when there is a place; what it raises is raised, and the function is not called.
        """
        limits = (None, None, None) if run.limits is None else run.limits.rest()
        message = job_message(Job(reference, list(args), kwargs, run.context(), *limits))
        await self._take_a_place()
        try:
            async with self._child() as child:
                if reference not in child.loaded:
                    await _load(child, reference, run)
                on_start()
                return await _ask(child, message, run)
        finally:
            self._places.release()

    async def _take_a_place(self) -> None:
        if self.closed or len(self._waiting) >= self._most_waiting:
            raise NoThread
        with anyio.CancelScope() as patience:
            self._waiting.add(patience)
            try:
                await self._places.acquire()
                return
            finally:
                self._waiting.discard(patience)
        raise NoThread

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[_Child]:
        """A process, which is used again afterwards unless it was ended."""
        child = await self._rested() or await self._start()
        try:
            yield child
        finally:
            if not child.ended:
                self._idle.append(child)

    async def _rested(self) -> _Child | None:
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None:
                return child
            await child.end()
        return None

    async def _start(self) -> _Child:
        try:
            process = await anyio.open_process(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None,
                env=self._environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is for the worker, which decides
            )
        except OSError as error:
            _log.error("no process for a task: %s", error)
            raise NoThread from error
        return _Child(process)


async def _load(child: _Child, reference: Reference, run: Run) -> None:
    """Have the process import the function, which no limit of the task counts."""
    with anyio.move_on_after(LOAD_S):
        await _ask(child, load_message(Load(reference, list(sys.path), _program())), run)
        child.loaded.add(reference)
        return
    raise Raised(
        ProcessDied(f"the process of the task had not imported its function after {LOAD_S:g} s, and was ended")
    )


async def _ask(child: _Child, message: bytes, run: Run) -> Any:
    """Send *message* and give the value that it is answered with; whoever is interrupted meanwhile ends the process."""
    try:
        kind, body = await child.ask(message, run.extend_timeout)
    except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
        raise Raised(ProcessDied(_obituary(await child.end()))) from None
    except BaseException:
        await child.end()
        raise
    match kind:
        case Kind.READY:
            return None
        case Kind.VALUE:
            return value_of(body)
        case Kind.NO_VALUE:
            raise Raised(CannotCross(value_of(body)))
        case _:
            raise Raised(problem_of(body))


def _obituary(code: int | None) -> str:
    how = "in an unknown way" if code is None else f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"the process of the task ended {how} before the task did"


def _program() -> str | None:
    """The file of this program, for functions that stand in it."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.abspath(path) if isinstance(path, str) else None  # noqa: PTH100 - as it is, not resolved
