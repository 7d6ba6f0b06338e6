"""A producer under load, and what became of what was acknowledged to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from secure_queue import Worker
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.urls import parse_url
from secure_queue.storage import Standing
from tests.servers import PATIENCE, happens
from tests.worker.places import SECRET

QUEUE = "durable"
LANES, PACE_S = 4, 0.01
LATER_S = 3600


class Producer:
    """Enqueues tasks that are due much later, so that each one stays where it was put and can be counted."""

    def __init__(self, url: str, **options: Any) -> None:
        self.worker: Worker[None] = Worker(
            url, **({"queue_name": QUEUE, "signing_secret": SECRET, "handle_signals": False} | options)
        )
        self.url = url
        self.acknowledged: set[str] = set()

        @self.worker.task
        async def later() -> None:
            """Nothing."""

        self.later = later

    async def enqueue(self, **options: Any) -> Any:
        """One task; its handle."""
        task = await self.later.enqueue().start(delay=LATER_S, **options)
        self.acknowledged.add(task.id)
        return task

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[None]:
        """Some 400 tasks a second for the time of the context; whatever is raised to the producer fails the test."""
        async with self.worker, anyio.create_task_group() as group:
            for _ in range(LANES):
                group.start_soon(self._lane)
            with anyio.fail_after(3 * PATIENCE):
                yield
            group.cancel_scope.cancel()

    async def _lane(self) -> None:
        while True:
            await self.enqueue()
            await anyio.sleep(PACE_S)

    async def goes_on(self, count: int = 100) -> None:
        """Wait until so many more tasks are acknowledged."""
        wanted = len(self.acknowledged) + count
        await happens(lambda: len(self.acknowledged) >= wanted)

    async def lost(self) -> set[str]:
        """What was acknowledged and is not there; asked over a link that has followed nobody yet."""
        keys = QueueKeys(QUEUE, ["normal"])
        async with open_link(parse_url(self.url), tag=keys.tag) as link:
            ids = await RedisStorage(link, keys).list_ids(
                Standing.SCHEDULED, priority="normal", offset=0, limit=1_000_000
            )
        return self.acknowledged - {task_id.decode() for task_id in ids}

    async def nothing_is_lost(self) -> bool:
        """Whether everything is there; what is enqueued again comes a moment later."""
        return not await self.lost()
