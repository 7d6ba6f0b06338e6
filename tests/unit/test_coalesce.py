"""Coalescer: one call in flight, the rest goes together."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from secure_queue import coalesce
from secure_queue.coalesce import Coalescer
from secure_queue.errors import Unavailable
from tests.servers import PATIENCE

pytestmark = pytest.mark.anyio


class Calls:
    """A call that waits until it is let through, and doubles."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.error: Exception | None = None
        self._gate = anyio.Semaphore(0)

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.seen.append(list(items))
        await self._gate.acquire()
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]

    def let_through(self, calls: int) -> None:
        for _ in range(calls):
            self._gate.release()


async def ask(coalescer: Coalescer[int, int], item: int, answers: dict[int, object]) -> None:
    try:
        answers[item] = await coalescer.ask(item)
    except Exception as error:
        answers[item] = error


async def test_what_is_asked_for_meanwhile_goes_together_in_order() -> None:
    calls, answers = Calls(), dict[int, object]()
    coalescer = Coalescer(calls, limit=3)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as runner:
            runner.start_soon(coalescer.run)
            async with anyio.create_task_group() as group:
                for item in range(8):
                    group.start_soon(ask, coalescer, item, answers)
                    await anyio.wait_all_tasks_blocked()
                calls.let_through(4)
            runner.cancel_scope.cancel()
    assert calls.seen == [[0], [1, 2, 3], [4, 5, 6], [7]]
    assert answers == {item: 2 * item for item in range(8)}


async def test_nobody_waits_behind_a_call_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "OVERDUE_S", 0.01)
    calls, answers = Calls(), dict[int, object]()
    coalescer = Coalescer(calls)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as runner:
            runner.start_soon(coalescer.run)
            async with anyio.create_task_group() as group:
                for item in range(3):  # nothing is let through: each goes out beside the ones before
                    group.start_soon(ask, coalescer, item, answers)
                    while len(calls.seen) <= item:
                        await anyio.sleep(0.001)
                calls.let_through(3)
            calls.let_through(1)
            assert await coalescer.ask(9) == 18  # and all is as it was
            runner.cancel_scope.cancel()
    assert calls.seen == [[0], [1], [2], [9]]
    assert answers == {item: 2 * item for item in range(3)}


async def test_an_idle_one_asks_at_once_and_needs_no_runner() -> None:
    calls = Calls()
    calls.let_through(2)
    coalescer = Coalescer(calls)
    assert [await coalescer.ask(1), await coalescer.ask(2)] == [2, 4]
    assert calls.seen == [[1], [2]]


async def test_an_error_reaches_everybody_in_that_call_and_nobody_else() -> None:
    calls, answers = Calls(), dict[int, object]()
    calls.error = LookupError("gone")
    coalescer = Coalescer(calls)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as runner:
            runner.start_soon(coalescer.run)
            async with anyio.create_task_group() as group:
                for item in range(3):
                    group.start_soon(ask, coalescer, item, answers)
                    await anyio.wait_all_tasks_blocked()
                calls.let_through(2)
            assert answers == dict.fromkeys(range(3), calls.error)
            calls.error = None
            calls.let_through(1)
            assert await coalescer.ask(9) == 18
            runner.cancel_scope.cancel()


async def test_who_gives_up_does_not_disturb_the_others() -> None:
    calls, answers = Calls(), dict[int, object]()
    coalescer = Coalescer(calls)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as runner:
            runner.start_soon(coalescer.run)
            async with anyio.create_task_group() as group:
                group.start_soon(ask, coalescer, 0, answers)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(ask, coalescer, 1, answers)
                with anyio.move_on_after(0.01):
                    await coalescer.ask(2)
                group.start_soon(ask, coalescer, 3, answers)
                await anyio.wait_all_tasks_blocked()
                calls.let_through(2)
            runner.cancel_scope.cancel()
    assert answers == {0: 0, 1: 2, 3: 6}


async def test_the_first_asker_may_be_cancelled_too() -> None:
    calls, answers = Calls(), dict[int, object]()
    coalescer = Coalescer(calls)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as runner:
            runner.start_soon(coalescer.run)
            async with anyio.create_task_group() as group:
                async with anyio.create_task_group() as first:
                    first.start_soon(ask, coalescer, 0, answers)
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(ask, coalescer, 1, answers)
                    await anyio.wait_all_tasks_blocked()
                    first.cancel_scope.cancel()
                calls.let_through(1)
            runner.cancel_scope.cancel()
    assert answers == {1: 2}


async def test_everybody_who_waits_is_told_when_it_is_closed() -> None:
    calls, answers = Calls(), dict[int, object]()
    coalescer = Coalescer(calls, limit=2)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, anyio.create_task_group() as runner:
            runner.start_soon(coalescer.run)
            for item in range(6):
                group.start_soon(ask, coalescer, item, answers)
                await anyio.wait_all_tasks_blocked()
            calls.let_through(1)
            await anyio.wait_all_tasks_blocked()
            runner.cancel_scope.cancel()
    assert answers.pop(0) == 0
    assert {type(answer) for answer in answers.values()} == {Unavailable}
    assert len(answers) == 5
