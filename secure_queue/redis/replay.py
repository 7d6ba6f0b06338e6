"""Keeps what was acknowledged lately, and enqueues it again when the server may have lost it.

A failover throws away what the old primary acknowledged and the promoted replica did not have; a restart without data
throws away everything. So each producer holds its last acknowledgements, batches as they were sent, and says them again
when another history begins. Whatever is there already stays as it is: enqueueing is by id.

What is kept is bounded: by time, counted back from the last time that the server was heard of (an outage may last longer
than the window), and by size.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, cast

import anyio

from secure_queue.errors import SecureQueueError
from secure_queue.redis.link import Argument

WINDOW_S = 20.0
WINDOW_BYTES = 64 << 20
LOOK_S = 1.0
BATCH, BATCH_BYTES = 500, 4 << 20
TASK_BYTES = 300  # what a small task takes besides its payload

_log = logging.getLogger("secure_queue.redis")

Send = Callable[[str, Sequence[bytes], Sequence[Argument]], Awaitable[object]]

SHAPES: Final = {"enqueue": (2, 3), "enqueue_linked": (3, 7), "enqueue_keyed": (1, 10)}
"""How many keys and arguments each task has of its own; the arguments begin with id, payload and time."""


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """One acknowledged call: its script, keys and arguments, and when it was confirmed."""

    script: str
    keys: Sequence[bytes]
    args: Sequence[Argument]
    at: float
    size: int

    @property
    def tasks(self) -> int:
        """How many tasks it carried."""
        return len(self.args) // SHAPES[self.script][1]

    @property
    def head(self) -> Sequence[bytes]:
        """The keys that belong to no single task; each task has its own behind them."""
        return self.keys[: len(self.keys) - SHAPES[self.script][0] * self.tasks]


class Replay:
    """The window of one producer. *send* does an enqueue again, *look* asks the server for a sign of life."""

    def __init__(self, send: Send, look: Callable[[], Awaitable[object]], counters: Counter[str]) -> None:
        self._send = send
        self._look = look
        self._counters = counters
        self._kept: deque[Sent] = deque()
        self._bytes = 0
        self._is_wanted = False
        self._stirred = anyio.Event()

    def keep(self, script: str, keys: Sequence[bytes], args: Sequence[Argument]) -> None:
        """Remember a call that was confirmed just now; the lists must not be changed afterwards."""
        each = SHAPES[script][1]
        size = sum(map(len, cast("Sequence[bytes]", args[1::each]))) + TASK_BYTES * (len(args) // each)
        if not self._kept:
            self._stirred.set()
        now = monotonic()
        self._add(Sent(script, keys, args, now, size))
        self._forget_older_than(now - WINDOW_S)

    def begin_again(self) -> None:
        """Another history has begun."""
        self._is_wanted = True
        self._stirred.set()

    async def run(self) -> None:
        """Look after the server while anything is kept, for ever."""
        while True:
            await self._stirred.wait()
            self._stirred = anyio.Event()
            while self._kept:
                await self._tend()
                with anyio.move_on_after(LOOK_S):
                    await self._stirred.wait()
                self._stirred = anyio.Event()
            self._is_wanted = False  # nothing that could be missing

    async def _tend(self) -> None:
        heard_at = monotonic()
        try:
            await self._look()
            if self._is_wanted:
                self._is_wanted = False
                await self._say_again()
        except SecureQueueError as error:
            _log.warning("what was enqueued in the last %g s may have to be enqueued again: %s", WINDOW_S, error)
            return
        except Exception:  # a fault of ours: it must not end the producer
            _log.exception("what was enqueued lately could not be looked after")
            return
        self._forget_older_than(heard_at - WINDOW_S)

    async def _say_again(self) -> None:
        """Each entry comes back with a fresh time, behind those that were there: it may be needed once more."""
        begun, count = monotonic(), 0
        try:
            while self._kept and self._kept[0].at < begun:
                count += await self._send_again(self._take(begun))
        except BaseException:
            self._is_wanted = True
            raise
        finally:
            self._counters["replayed"] += count
        _log.warning("another history has begun: %d tasks that were acknowledged lately were enqueued again", count)

    async def _send_again(self, batch: Sequence[Sent]) -> int:
        again = merged(batch, monotonic())
        try:
            await self._send(again.script, again.keys, again.args)
        except BaseException:
            for sent in reversed(batch):
                self._kept.appendleft(sent)
                self._bytes += sent.size
            raise
        self._add(again)
        return again.tasks

    def _take(self, until: float) -> list[Sent]:
        """The oldest calls, none as late as *until*, that may go out as one."""
        batch = [self._pop()]
        tasks, size = batch[0].tasks, batch[0].size
        while self._kept and self._kept[0].at < until and _are_alike(self._kept[0], batch[0]):
            tasks, size = tasks + self._kept[0].tasks, size + self._kept[0].size
            if tasks > BATCH or size > BATCH_BYTES:
                break
            batch.append(self._pop())
        return batch

    def _add(self, sent: Sent) -> None:
        self._kept.append(sent)
        self._bytes += sent.size
        while self._bytes > WINDOW_BYTES:
            self._counters["replay_overflow"] += self._pop().tasks

    def _forget_older_than(self, moment: float) -> None:
        while self._kept and self._kept[0].at < moment:
            self._pop()

    def _pop(self) -> Sent:
        sent = self._kept.popleft()
        self._bytes -= sent.size
        return sent


def _are_alike(one: Sent, other: Sent) -> bool:
    return one.script == other.script and one.head == other.head


def merged(batch: Sequence[Sent], now: float) -> Sent:
    """One call that says at *now* what several calls of the same head have said."""
    script, keys, args = batch[0].script, list(batch[0].head), list[Argument]()
    for sent in batch:
        keys += sent.keys[len(sent.head) :]
        args += later(sent.args, round((now - sent.at) * 1000), SHAPES[script][1])
    return Sent(script, keys, args, now, sum(sent.size for sent in batch))


def later(args: Sequence[Argument], elapsed_ms: int, each: int = 3) -> list[Argument]:
    """*args* as they must be *elapsed_ms* later: a delay has become shorter, or is over."""
    result = list(args)
    times = cast("Sequence[int]", args[2::each])
    result[2::each] = [min(0, at + elapsed_ms) if at < 0 else at for at in times]
    return result
