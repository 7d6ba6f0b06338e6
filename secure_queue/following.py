"""Follows one task from the side of its caller: what it says before its end, verified, until it has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from secure_queue import names
from secure_queue.client import Client
from secure_queue.clock import now_ms
from secure_queue.errors import ConfigurationError, Rejected, StreamBroken, TaskNotFound
from secure_queue.frames import opened_without_frames
from secure_queue.inbox import Inbox, Waiter
from secure_queue.outcomes import read_part
from secure_queue.payload.envelope import Purpose
from secure_queue.routing import Route
from secure_queue.storage import UNKNOWN, Storage
from secure_queue.tasks import Task, TaskResult

PAGE: Final = 100


class Following:
    """What the task of one handle says; only what a worker has sealed for this very enqueue counts."""

    def __init__(self, client: Client, task: Task[Any]) -> None:
        self._client = client
        self._task_id = names.task_id(task.id)
        self._function = task.fn_name
        self._ref = client.ref_of(task)
        self._run: bytes | None = None

    @opened_without_frames
    async def progress(self) -> Any:
        """The last word; None if there is none, or none that is genuine."""
        storage = await self._client.storage_of(self._task_id)
        untrusted, _ = await storage.partial(self._task_id.encode(), 0, 0)
        return None if untrusted is None else (await self._open(untrusted))[1]

    async def updates(self) -> AsyncGenerator[Any, None]:
        """Every word that is new when we look, until the end."""
        storage, last, ended = await self._client.storage_of(self._task_id), None, None
        with self._attending(await self._client.routes.of(self._task_id)) as attention:
            while ended is None:
                ended = await attention.look()
                untrusted, _ = await storage.partial(self._task_id.encode(), 0, 0)
                if untrusted not in (None, last):
                    last = untrusted
                    yield (await self._open(untrusted))[1]
                await attention.news(ended)
        if isinstance(ended, bytes):
            self._verify(ended)

    async def parts(self) -> AsyncGenerator[Any, None]:
        """Every part, in order and of one run."""
        storage, seen, ended = await self._client.storage_of(self._task_id), 0, None
        with self._attending(await self._client.routes.of(self._task_id)) as attention:
            while ended is None:
                ended = await attention.look()
                if not seen and ended is not None and await self._is_empty(ended):
                    return
                while found := (await storage.partial(self._task_id.encode(), seen, PAGE))[1]:
                    for untrusted in found:
                        yield await self._part(untrusted, seen)
                        seen += 1
                await attention.news(ended)
        if await self._count(ended) != seen or not await self._ends_with(storage, seen - 1):
            raise StreamBroken("parts of this result are gone, or those of another run; begin again")

    async def _part(self, untrusted: bytes, number: int) -> Any:
        head, value = await self._open(untrusted)
        if self._run is None:
            self._run = head.run
        if (head.run, head.part) != (self._run, number):
            raise StreamBroken("another try of the task has begun; begin again at its first part")
        return value

    async def _is_empty(self, ended: bytes | object) -> bool:
        """Whether the last try has yielded nothing, whatever is left of one before it."""
        if ended is UNKNOWN:
            return False
        result = await self._result(ended)
        return result.success and type(result.result) is int and not result.result

    async def _result(self, ended: bytes | object) -> TaskResult[Any]:
        untrusted = cast("bytes", ended)
        return await self._client.read(self._task_id, untrusted, function=self._function, ref=self._ref)

    async def _ends_with(self, storage: Storage, last: int) -> bool:
        """Whether the stored part number *last* is the one that was seen; another try may have sent as many."""
        if last < 0:
            return True
        found = (await storage.partial(self._task_id.encode(), last, 1))[1]
        return bool(found) and (await self._open(found[0]))[0] == (self._run, last)

    async def _open(self, untrusted: bytes) -> Any:
        return await read_part(self._client.codec, untrusted, self._task_id, self._function, self._ref)

    async def _count(self, ended: bytes | object) -> Any:
        """How many parts the task says that there are; raises what it failed with, ``ConfigurationError`` if it does not."""
        if ended is UNKNOWN:
            raise TaskNotFound("no such task is stored; it was never enqueued, or what it said has expired")
        result = await self._result(ended)
        if not result.success:
            raise result.exception
        if type(result.result) is not int:
            raise ConfigurationError(
                f"the task {self._function} does not yield its result in parts; ask for it with result()"
            )
        return result.result

    @contextmanager
    def _attending(self, route: Route) -> Iterator[_Attention]:
        with route.inbox.attending(self._task_id.encode(), self._is_genuine) as waiter:
            yield _Attention(route.inbox, waiter, self._task_id.encode())

    def _is_genuine(self, untrusted: bytes) -> bool:
        try:
            self._verify(untrusted)
        except Rejected:
            return False
        return True

    def _verify(self, untrusted: bytes) -> None:
        """Raise ``Rejected`` unless this is the genuine end of this very enqueue."""
        codec = self._client.codec
        codec.verify(untrusted, Purpose.RESULT, self._task_id, now_ms=now_ms(), function=self._function, ref=self._ref)


class _Attention:
    """What one follower hears of its task."""

    def __init__(self, inbox: Inbox, waiter: Waiter, task_id: bytes) -> None:
        self._inbox = inbox
        self._waiter = waiter
        self._task_id = task_id

    async def look(self) -> bytes | object | None:
        """The result if the task has ended; None while it goes on."""
        return self._waiter.sealed or await self._inbox.look(self._task_id)

    async def news(self, ended: object) -> None:
        """Wait until there is something new, unless the task has *ended*."""
        if ended is None:
            await self._waiter.news()
