"""``every``: the loop goes on whatever a round does."""

from __future__ import annotations

import anyio
import pytest

from secure_queue.errors import Unavailable
from secure_queue.execution.ticker import every
from tests.servers import PATIENCE

pytestmark = pytest.mark.anyio


async def test_a_round_that_fails_does_not_end_the_loop() -> None:
    rounds = 0
    enough = anyio.Event()

    async def tick() -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise Unavailable("away")
        if rounds == 2:
            raise LookupError("a fault")
        if rounds == 5:
            enough.set()
        return None

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(every, 0.001, tick)
            await enough.wait()
            group.cancel_scope.cancel()


async def test_a_round_may_ask_for_the_next_one_sooner() -> None:
    rounds = 0
    enough = anyio.Event()

    async def tick() -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            enough.set()
        return 0.001

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(every, 10 * PATIENCE, tick)
            await enough.wait()
            group.cancel_scope.cancel()


async def test_how_the_loop_pauses_can_be_chosen() -> None:
    pauses, rounds = list[float](), 0

    class Enough(Exception):
        """The test has seen what it wants."""

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise Enough

    async def tick() -> float | None:
        nonlocal rounds
        rounds += 1
        return 7.0 if rounds == 2 else None

    with pytest.raises(Enough):
        await every(100.0, tick, pause)
    assert rounds == 3 and pauses[1] == 7.0
    assert all(90 <= seconds <= 110 for seconds in (pauses[0], pauses[2]))
