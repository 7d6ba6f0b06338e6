"""Makes one call out of the many that are asked for while the last one is in flight.

When nothing is in flight a request goes out at once and alone; whatever accumulates meanwhile goes out together next. So
an idle system answers without added delay and a busy one works in batches. Only a call that takes much longer than any
should (a failover, a missing replica) is not waited for: what came after it would begin its own deadline behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio

from secure_queue.clock import monotonic
from secure_queue.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

OVERDUE_S = 0.5
"""After so long what waits goes out beside the call in flight."""
_CLOSED = "the client was closed before the call was confirmed"


class _Batch(Generic[Item, Answer]):
    __slots__ = ("answers", "done", "error", "items")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.answers: Sequence[Answer] = ()
        self.error: Exception | None = None
        self.done = anyio.Event()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()


class Coalescer(Generic[Item, Answer]):
    """``call`` takes a list of items and returns an answer for each; at most *limit* items go into one call."""

    def __init__(self, call: Callable[[list[Item]], Awaitable[Sequence[Answer]]], limit: int = 500) -> None:
        self._call = call
        self._limit = limit
        self._waiting: list[_Batch[Item, Answer]] = []
        self._in_flight = 0
        self._begun = 0.0
        self._wanted = anyio.Event()

    async def ask(self, item: Item) -> Answer:
        """The answer for *item*; an error of the call that carried it is raised to everybody in that call."""
        if not self._in_flight and not self._waiting:
            return await self._go_alone(item)
        if not self._waiting or len(self._waiting[-1].items) >= self._limit:
            self._waiting.append(_Batch())
            self._wanted.set()
        batch = self._waiting[-1]
        place = len(batch.items)
        batch.items.append(item)
        await batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return batch.answers[place]

    async def _go_alone(self, item: Item) -> Answer:
        self._begin()
        try:
            return (await self._call([item]))[0]
        finally:
            self._end()

    def _begin(self) -> None:
        self._in_flight += 1
        self._begun = monotonic()

    def _end(self) -> None:
        self._in_flight -= 1
        if self._waiting:
            self._wanted.set()

    async def run(self) -> None:
        """Send what accumulates, for ever; belongs into the task group of whoever owns this object."""
        try:
            async with anyio.create_task_group() as calls:
                while True:
                    await self._until_a_call_may_go()
                    self._begin()
                    calls.start_soon(self._send, self._waiting.pop(0))
        finally:
            for batch in self._waiting:
                batch.fail(Unavailable(_CLOSED))
            self._waiting.clear()

    async def _until_a_call_may_go(self) -> None:
        while not self._waiting:
            await self._until_something_changes(None)
        while self._in_flight and (left := self._begun + OVERDUE_S - monotonic()) > 0:
            await self._until_something_changes(left)

    async def _until_something_changes(self, seconds: float | None) -> None:
        self._wanted = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._wanted.wait()

    async def _send(self, batch: _Batch[Item, Answer]) -> None:
        try:
            batch.answers = await self._call(batch.items)
            batch.done.set()
        except Exception as error:
            batch.fail(error)
        except BaseException:
            batch.fail(Unavailable(_CLOSED))
            raise
        finally:
            self._end()
