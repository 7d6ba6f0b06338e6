"""The database in memory takes its time from ``clock.py``: whoever moves that clock moves expiries and ids with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from secure_queue import clock
from secure_queue.redis.connect import open_link
from secure_queue.redis.link import Link
from secure_queue.redis.topology import Memory
from tests.connections.scripts import script

pytestmark = pytest.mark.anyio

START_MS = 1_900_000_000_000
HOUR_MS = 3_600_000


class Hands:
    def __init__(self) -> None:
        self.ms = START_MS


@pytest.fixture
def hands() -> Iterator[Hands]:
    """A clock that shows what the test says."""
    hands = Hands()
    with clock.wall_clock(lambda: hands.ms * 1_000_000):
        yield hands


@pytest.fixture
async def memory(anyio_backend: object) -> AsyncIterator[Link]:
    async with open_link(Memory()) as link:
        yield link


async def test_a_moved_clock_is_told_by_now_ms_and_taken_back_at_the_end() -> None:
    before = clock.now_ms()
    with clock.wall_clock(lambda: 5_000_000):
        assert clock.now_ms() == 5
    assert clock.now_ms() >= before


async def test_the_server_in_memory_tells_the_time_of_that_clock(memory: Link, hands: Hands) -> None:
    hands.ms += 1
    ask = script("return redis.call('TIME')")
    assert await memory.command("TIME") == [b"1900000000", b"1000"]
    assert await memory.run(ask, [], [], 1) == [b"1900000000", b"1000"]


async def test_keys_expire_by_that_clock_and_not_before(memory: Link, hands: Hands) -> None:
    await memory.command("SET", "plain", "x", "PX", HOUR_MS)
    await memory.run(script("return redis.call('SET', KEYS[1], 'x', 'PX', ARGV[1])"), [b"scripted"], [HOUR_MS], 1)
    hands.ms += HOUR_MS - 1
    assert await memory.command("EXISTS", "plain", "scripted") == 2
    assert await memory.command("PTTL", "plain") == 1
    hands.ms += 2
    assert await memory.command("EXISTS", "plain", "scripted") == 0


async def test_entries_of_a_stream_are_named_by_that_clock_and_never_go_back(memory: Link, hands: Hands) -> None:
    add = script("return redis.call('XADD', KEYS[1], '*', 'field', 'value')")
    added = []
    for step_ms in (0, 0, HOUR_MS, -2 * HOUR_MS):
        hands.ms += step_ms
        added.append(await memory.run(add, [b"stream"], [], 1))
    later = START_MS + HOUR_MS
    assert added[:3] == [b"%d-0" % START_MS, b"%d-1" % START_MS, b"%d-0" % later]
    assert await memory.command("XLEN", "stream") == 4
