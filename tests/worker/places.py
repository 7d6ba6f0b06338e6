"""Queues for tests of the public API: where they are, worker objects for them, and a way to their raw contents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import anyio
from anyio.abc import TaskStatus

from secure_queue import Worker
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link
from secure_queue.redis.storage import RedisStorage
from secure_queue.redis.topology import Memory, Standalone
from tests.servers import PATIENCE, Server

SECRET = format_key(generate_key("tests"))
QUEUE, PRIORITY = "worker-tests", "normal"
AT_ONCE = lambda tries: 0.0  # noqa: E731 - a retry policy


@dataclass(frozen=True)
class Place:
    """One database with one queue in it."""

    url: str
    link: Link
    keys: QueueKeys
    storage: RedisStorage

    def worker(self, **options: Any) -> Worker[Any]:
        """A worker object for the queue; *options* go to ``Worker``."""
        defaults: dict[str, Any] = {
            "queue_name": QUEUE,
            "signing_secret": SECRET,
            "handle_signals": False,
            "concurrency": 4,
        }
        return Worker(self.url, **(defaults | options))

    async def quarantine(self) -> dict[bytes, str]:
        """The reason for each quarantined id."""
        entries: Any = await self.link.command("XRANGE", self.keys.quarantine, "-", "+")
        fields = [dict(zip(entry[::2], entry[1::2], strict=True)) for _, entry in entries]
        return {entry[b"id"]: entry[b"reason"].decode() for entry in fields}

    async def put_raw(self, task_id: bytes, payload: bytes | None) -> None:
        """Put an entry into the queue as somebody would who can write to Redis, but has no key."""
        if payload is not None:
            await self.link.command("HSET", self.keys.bucket(task_id), task_id, payload)
        await self.link.command("RPUSH", self.keys.ready[PRIORITY], task_id)
        await self.link.command("ZADD", self.keys.wake, 0, "0")


@asynccontextmanager
async def open_place(kind: str, server: Server | None) -> AsyncIterator[Place]:
    """An empty database of *kind* memory or server."""
    if kind == "memory":
        name = uuid4().hex
        url, topology = f"memory://{name}", Memory(name)
    else:
        assert server is not None
        url, topology = f"unix://{server.unix_path}", Standalone(unix_path=str(server.unix_path))  # type: ignore[assignment]
    async with open_link(topology) as link:
        await link.command("FLUSHALL")
        keys = QueueKeys(QUEUE, (PRIORITY,))
        yield Place(url, link, keys, RedisStorage(link, keys))
        await link.command("FLUSHALL")


@asynccontextmanager
async def running(worker: Worker[Any]) -> AsyncIterator[Worker[Any]]:
    """*worker* as producer and as running worker; fails the test if it ends before it is told to."""
    stopped = False

    async def run(*, task_status: TaskStatus[None]) -> None:
        await worker.run_async(task_status=task_status)
        assert stopped, "the worker has ended by itself"

    async with worker, anyio.create_task_group() as group:
        await group.start(run)
        with anyio.fail_after(2 * PATIENCE):
            yield worker
        stopped = True
        worker.stop()
