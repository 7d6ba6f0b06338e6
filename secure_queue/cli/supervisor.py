"""Keeps several worker processes alive, passes signals on to them, and starts them anew when code changes."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup

from secure_queue.clock import monotonic
from secure_queue.errors import ConfigurationError
from secure_queue.execution.shutdown import HANGUP, TO_END, TO_READ_KEYS, on_signals

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
SETTLED_S = 60.0
"""A process that lived so long and then died is started again without a long pause."""
CANNOT_RUN = 78
"""The exit code of a child whose target cannot be run (EX_CONFIG of sysexits.h); a task that ends its process may use 2."""
RECYCLED = 75
"""The exit code of a child that has done enough (EX_TEMPFAIL of sysexits.h): it is started anew at once."""
_TERMINATED = -15

Changes = AsyncIterator[Any]

_log = logging.getLogger("secure_queue.supervisor")


def reloader() -> Changes:
    """The changes of Python files below the current folder; raises ``ConfigurationError`` without ``watchfiles``."""
    try:
        from watchfiles import PythonFilter, awatch
    except ImportError:
        raise ConfigurationError("--reload needs watchfiles; pip install 'secure-queue[reload]'") from None
    changes: Changes = awatch(".", watch_filter=PythonFilter())
    return changes


class Supervisor:
    """Runs ``secure-queue run`` with *words* in *count* processes; ``run`` returns the exit code.

    *words_of* has more words for the process at each place. With *keys_from_file* it passes a SIGHUP on to processes that
    look at their key file then.
    """

    def __init__(
        self,
        words: Sequence[str],
        count: int,
        *,
        restart: bool,
        changes: Changes | None = None,
        keys_from_file: bool = False,
        words_of: Callable[[int], Sequence[str]] = lambda place: (),
    ) -> None:
        self._command = [sys.executable, "-m", "secure_queue", "run", *words, "--tied"]
        self._words_of = words_of
        self._count = count
        self._restart = restart
        self._changes = changes
        self._keys_from_file = keys_from_file
        self._children: set[Process] = set()
        self._times_asked = 0
        self._asked = anyio.Event()
        self._changed = anyio.Event()
        self._worst = 0

    async def run(self) -> int:
        """Keep the processes alive until a signal, or the end of their work."""
        async with anyio.create_task_group() as background:
            await background.start(on_signals, self._end_children, TO_END)
            if self._keys_from_file:
                await background.start(on_signals, self._pass_on_hangup, TO_READ_KEYS)
            if self._changes is not None:
                background.start_soon(self._watch, self._changes)
            async with anyio.create_task_group() as slots:
                for place in range(self._count):
                    slots.start_soon(self._keep, place)
            background.cancel_scope.cancel()
        return self._worst

    def _end_children(self) -> None:
        """Pass a signal on: to a child the first one means peace, the second one now; the third one is not discussed."""
        self._asked.set()
        self._times_asked += 1
        for child in self._children:
            if self._times_asked > 2:
                child.kill()
            else:
                child.terminate()

    def _pass_on_hangup(self) -> None:
        for child in self._children:
            child.send_signal(HANGUP)

    async def _watch(self, changes: Changes) -> None:
        async for _ in changes:
            _log.info("the code has changed; starting anew")
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
            for child in self._children:
                child.terminate()

    async def _keep(self, place: int) -> None:
        """Run one process after the other in this slot."""
        pause = FIRST_PAUSE_S
        while not self._asked.is_set():
            changed, started = self._changed, monotonic()
            code = await self._run_child(place)
            if self._is_over(code, changed):
                return
            if changed.is_set() or code == RECYCLED:
                continue
            if monotonic() - started > SETTLED_S:
                pause = FIRST_PAUSE_S
            await self._wait(code, pause, changed)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _is_over(self, code: int, changed: anyio.Event) -> bool:
        """Whether this slot stays empty; notes the exit code then."""
        if self._asked.is_set():
            code = 0 if code in (_TERMINATED, RECYCLED) else code  # a terminated one had not even begun
        elif code == RECYCLED:
            _log.info("a worker process has done enough; starting a fresh one")
            return False
        elif self._changes is not None or (self._restart and code != CANNOT_RUN):
            return False
        self._worst = max(self._worst, 2 if code == CANNOT_RUN else code if code >= 0 else 128 - code)
        if code == CANNOT_RUN and not self._asked.is_set():
            self._end_children()
        return True

    async def _run_child(self, place: int) -> int:
        """One process from its start to its end; a session of its own keeps the terminal's Ctrl-C from it."""
        async with await anyio.open_process(
            [*self._command, *self._words_of(place)],
            stdin=subprocess.PIPE,
            stdout=None,
            stderr=None,
            start_new_session=True,
        ) as child:
            self._children.add(child)
            if self._asked.is_set():
                child.terminate()
            try:
                return await child.wait()
            finally:
                self._children.discard(child)

    async def _wait(self, code: int, pause: float, changed: anyio.Event) -> None:
        """Wait before the next start: a while, or with --reload for a change, in any case not after a signal."""
        if self._changes is None:
            _log.warning("a worker process ended with code %d; starting it again in %.1f s", code, pause)
        else:
            _log.warning("a worker process ended with code %d; waiting for a change", code)
        with anyio.move_on_after(pause if self._changes is None else None):
            async with anyio.create_task_group() as race:
                for event in (self._asked, changed):
                    race.start_soon(_first_of, race, event)


async def _first_of(race: TaskGroup, event: anyio.Event) -> None:
    await event.wait()
    race.cancel_scope.cancel()
