"""Makes one call out of the many that are asked for while the last one is in flight.

There is no timer: when nothing is in flight a request goes out at once and alone; whatever accumulates meanwhile goes
out together next. So an idle system answers without added delay and a busy one works in batches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio

from secure_queue.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

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
        self._in_flight = False
        self._wanted = anyio.Event()

    async def ask(self, item: Item) -> Answer:
        """The answer for *item*; an error of the call that carried it is raised to everybody in that call."""
        if not self._in_flight and not self._waiting:
            return await self._go_alone(item)
        if not self._waiting or len(self._waiting[-1].items) >= self._limit:
            self._waiting.append(_Batch())
        batch = self._waiting[-1]
        place = len(batch.items)
        batch.items.append(item)
        await batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return batch.answers[place]

    async def _go_alone(self, item: Item) -> Answer:
        self._in_flight = True
        try:
            return (await self._call([item]))[0]
        finally:
            self._in_flight = False
            self._wanted.set()

    async def run(self) -> None:
        """Send what accumulates, for ever; belongs into the task group of whoever owns this object."""
        try:
            while True:
                if self._in_flight or not self._waiting:
                    await self._wanted.wait()
                    self._wanted = anyio.Event()
                    continue
                await self._send(self._waiting.pop(0))
        finally:
            for batch in self._waiting:
                batch.fail(Unavailable(_CLOSED))
            self._waiting.clear()

    async def _send(self, batch: _Batch[Item, Answer]) -> None:
        self._in_flight = True
        try:
            batch.answers = await self._call(batch.items)
            batch.done.set()
        except Exception as error:
            batch.fail(error)
        except BaseException:
            batch.fail(Unavailable(_CLOSED))
            raise
        finally:
            self._in_flight = False
