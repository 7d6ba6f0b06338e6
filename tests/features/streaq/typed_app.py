"""A program whose types are checked: each line that mypy must refuse says so, and mypy refuses an excuse that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, assert_type

from secure_queue import Task, TaskResult, Worker


@dataclass
class Database:
    """Something that is opened once."""

    pages: dict[str, int]


class Context(NamedTuple):
    """What the tasks share."""

    database: Database
    name: str


@asynccontextmanager
async def lifespan() -> AsyncIterator[Context]:
    """Opens what the tasks share."""
    yield Context(Database({"a": 7}), "shop")


def shop(url: str, secret: str) -> Worker[Context]:
    """A worker whose context has a type, and tasks that use it."""
    worker = Worker(url, signing_secret=secret, lifespan=lifespan, queue_name="worker-tests", handle_signals=False)
    assert_type(worker, Worker[Context])

    @worker.task(name="pages_of", timeout=5)
    async def pages_of(page: str, *, times: int = 1) -> int:
        assert_type(worker.context, Context)
        assert not hasattr(worker.context, "no_such_field") or worker.context.no_such_field  # type: ignore[attr-defined]
        return worker.context.database.pages[page] * times

    @worker.task
    def in_a_thread(page: str) -> str:
        return page

    other = Worker(url, signing_secret=secret, handle_signals=False)  # of a module that does not know the context
    typed = Worker[Context](url, signing_secret=secret, handle_signals=False)

    @other.task(name="unaware")
    async def unaware(page: str) -> int:
        return int(other.context.database.pages[page])

    @typed.task
    async def aware(page: str) -> int:
        assert_type(typed.context, Context)
        return typed.context.database.pages[page] + len(typed.context.no_such_field)  # type: ignore[attr-defined]

    worker.include(other)
    worker.include(typed)

    async def use() -> None:
        task = await pages_of.enqueue("a", times=2)
        assert_type(task, Task[int])
        assert_type(await task.result(), TaskResult[int])
        assert_type(in_a_thread("a"), str)
        assert_type(await pages_of("a"), int)
        pages_of.enqueue(1)  # type: ignore[arg-type]
        pages_of.enqueue("a", tries=2)  # type: ignore[call-arg]
        in_a_thread.enqueue()  # type: ignore[call-arg]

    assert use is not None
    return worker
