"""⚠ In streaQ a task after a parent whose result is not kept waits for ever, and one after a failed parent runs."""

from __future__ import annotations

from typing import Any

import pytest

from secure_queue import TaskFailed, TaskStatus
from tests.servers import PATIENCE, eventually
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def test_the_end_of_a_parent_is_decided_whenever_it_was(place: Place) -> None:
    worker = place.worker()

    @worker.task(name="fail", max_tries=1, silent=True)
    async def fail() -> None:
        raise LookupError

    @worker.task(name="unkept", ttl=0)
    async def unkept() -> None: ...

    @worker.task(name="child")
    async def child(word: str) -> str:
        return word

    async def outcome(word: str, **options: Any) -> str:
        result = await (await child.enqueue(word).start(**options)).result(timeout=PATIENCE)
        if result.success:
            return result.result
        assert isinstance(result.exception, TaskFailed)
        return result.exception.remote_type

    async with running(worker):
        failed, gone = await fail.enqueue(), await unkept.enqueue()
        await failed.result(timeout=PATIENCE)
        await eventually(lambda: is_done(gone))
        assert await outcome("a", after=failed) == "secure_queue.ParentFailed"
        assert await outcome("b", after=failed, on="failure") == "b"
        assert await outcome("c", after=failed, on="end") == "c"
        assert await outcome("d", after=gone) == "secure_queue.ParentGone"
        assert await outcome("e", after=gone, gone="run") == "e"
        early = await child.enqueue("f").start(after=unkept.enqueue())  # one that is waited for is not gone
        assert (await early.result(timeout=PATIENCE)).result == "f"


async def is_done(task: Any) -> bool:
    return bool(await task.status() is TaskStatus.DONE)
