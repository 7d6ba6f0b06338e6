"""The outbox: what has ended is settled in batches, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from secure_queue.errors import Unavailable
from secure_queue.execution.outbox import LARGEST_BATCH, Tray
from secure_queue.execution.runs import Desk
from secure_queue.storage import Claim, End
from tests.servers import PATIENCE

pytestmark = pytest.mark.anyio


def end(number: int) -> End:
    return End(b"%d" % number, b"w.1", 0, b"sealed")


class Sink:
    """Takes batches, one at a time; can be told to wait or to fail."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.open = anyio.Event()
        self.open.set()

    async def __call__(self, items: Sequence[End]) -> list[bool]:
        await self.open.wait()
        self.batches.append(len(items))
        if self.error is not None:
            raise self.error
        return [item.task_id != b"7" for item in items]


def full_desk(count: int) -> Desk:
    desk = Desk()
    desk.add(Claim(b"%d" % number, b"sealed", 1, "normal", b"w.1") for number in range(count))
    desk.take_back()
    return desk


async def test_everything_that_is_there_goes_in_few_calls() -> None:
    count = 2 * LARGEST_BATCH + 1
    desk, sink = full_desk(count), Sink()
    tray = Tray("complete", sink, desk)
    for number in range(count):
        tray.add(end(number))
    await tray.drain()
    assert sink.batches == [LARGEST_BATCH, LARGEST_BATCH, 1]
    assert desk.at_rest


async def test_lost_leases_are_counted() -> None:
    desk = full_desk(10)
    tray = Tray("complete", Sink(), desk)
    for number in range(10):
        tray.add(end(number))
    await tray.drain()
    assert desk.counters["stale"] == 1


async def test_a_server_that_is_away_loses_the_leases_and_not_the_tray() -> None:
    desk, sink = full_desk(3), Sink()
    tray = Tray("complete", sink, desk)
    sink.error = Unavailable("away")
    tray.add(end(1))
    await tray.drain()
    assert (desk.counters["stale"], len(desk.held)) == (1, 2)
    sink.error = None
    tray.add(end(2))
    await tray.drain()
    assert len(desk.held) == 1


async def test_a_settlement_that_was_cancelled_is_sent_again() -> None:
    desk, sink = full_desk(2), Sink()
    tray = Tray("complete", sink, desk)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            sink.open = anyio.Event()
            tray.add(end(0))
            group.start_soon(tray.run)
            await anyio.wait_all_tasks_blocked()
            tray.add(end(1))
            group.cancel_scope.cancel()
        sink.open.set()
        await tray.drain()
    assert sink.batches == [2]
    assert desk.at_rest
