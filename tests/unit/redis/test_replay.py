"""What was acknowledged lately is kept within its bounds, and said again as it must be said later."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import anyio
import pytest

from secure_queue.background import beside
from secure_queue.errors import Unavailable
from secure_queue.redis.link import Argument
from secure_queue.redis.replay import BATCH, WINDOW_BYTES, WINDOW_S, Replay, Sent, later, merged
from tests.servers import PATIENCE, happens

HEAD = [b"meta", b"wake", b"ready", b"due", b"finished"]


class Server:
    """Takes what a replay sends; it may be away."""

    def __init__(self) -> None:
        self.away = 0
        self.looks = 0
        self.calls: list[tuple[list[bytes], list[Argument]]] = []
        self.counters: Counter[str] = Counter()
        self.replay = Replay(self.send, self.look, self.counters)

    async def send(self, script: str, keys: Sequence[bytes], args: Sequence[Argument]) -> None:
        await self._answer()
        self.calls.append((list(keys), list(args)))

    async def look(self) -> None:
        self.looks += 1
        await self._answer()

    async def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("not there")

    def keep(self, *names: bytes, head: Sequence[bytes] = HEAD, sealed: bytes = b"sealed") -> None:
        """Note an acknowledged call of some tasks."""
        keys = [*head, *(part for name in names for part in (b"bucket", b"result:" + name))]
        self.replay.keep("enqueue", keys, [part for name in names for part in (name, sealed, 0)])

    @property
    def names(self) -> list[list[Argument]]:
        """The ids of each call."""
        return [args[0::3] for _, args in self.calls]

    @asynccontextmanager
    async def tended(self) -> AsyncIterator[None]:
        with anyio.fail_after(PATIENCE):
            async with beside(self.replay.run):
                yield


def test_a_delay_is_shorter_later_and_a_moment_stays() -> None:
    assert later([b"a", b"x", -5000, b"b", b"y", 1_700_000_000_000, b"c", b"z", 0], 2000) == [
        *(b"a", b"x", -3000),
        *(b"b", b"y", 1_700_000_000_000),
        *(b"c", b"z", 0),
    ]
    assert later([b"a", b"x", -5000], 5001) == [b"a", b"x", 0]


def test_calls_of_one_head_become_one_each_with_its_own_delay() -> None:
    first = Sent("enqueue", [*HEAD, b"1", b"r1"], [b"a", b"x", -5000], at=100.0, size=10)
    second = Sent("enqueue", [*HEAD, b"2", b"r2", b"3", b"r3"], [b"b", b"y", -5000, b"c", b"z", 0], at=102.0, size=20)
    both = merged([first, second], 103.0)
    assert both.keys == [*HEAD, b"1", b"r1", b"2", b"r2", b"3", b"r3"]
    assert both.args == [b"a", b"x", -2000, b"b", b"y", -4000, b"c", b"z", 0]
    assert (both.at, both.size, both.tasks, both.head) == (103.0, 30, 3, HEAD)


@pytest.mark.anyio
async def test_nothing_is_said_again_while_the_history_goes_on() -> None:
    server = Server()
    async with server.tended():
        server.keep(b"a")
        await happens(lambda: server.looks)
    assert server.calls == []


@pytest.mark.anyio
async def test_everything_is_said_again_in_large_calls_and_can_be_once_more() -> None:
    server = Server()
    async with server.tended():
        for number in range(BATCH + 1):
            server.keep(b"%d" % number)
        server.keep(b"urgent", head=[b"another", *HEAD[1:]])
        for times in (1, 2):
            server.replay.begin_again()
            await happens(lambda wanted=3 * times: len(server.calls) == wanted)  # type: ignore[misc]
    everything = [[b"%d" % number for number in range(BATCH)], [b"%d" % BATCH], [b"urgent"]]
    assert server.names == everything * 2
    assert server.counters["replayed"] == 2 * (BATCH + 2)


@pytest.mark.anyio
async def test_a_server_that_is_still_away_is_tried_again() -> None:
    server = Server()
    async with server.tended():
        server.keep(b"a")
        server.keep(b"b", head=[b"another", *HEAD[1:]])
        server.away = 3
        server.replay.begin_again()
        await happens(lambda: len(server.calls) == 2)
    assert server.names == [[b"a"], [b"b"]]


@pytest.mark.anyio
async def test_what_is_kept_is_bounded_by_size() -> None:
    server = Server()
    large = bytes(WINDOW_BYTES // 4)
    for name in (b"a", b"b", b"c", b"d", b"e"):
        server.keep(name, sealed=large)
    async with server.tended():
        server.replay.begin_again()
        await happens(lambda: len(server.calls) == 3)
    assert server.names == [[b"c"], [b"d"], [b"e"]]
    assert server.counters["replay_overflow"] == 2


@pytest.mark.anyio
async def test_what_is_kept_is_bounded_by_time() -> None:
    server = Server()
    server.replay._kept.append(Sent("enqueue", [*HEAD, b"1", b"r1"], [b"old", b"x", 0], monotonic() - WINDOW_S - 1, 10))
    server.keep(b"new")
    async with server.tended():
        server.replay.begin_again()
        await happens(lambda: len(server.calls) == 1)
    assert server.names == [[b"new"]]


@pytest.mark.anyio
async def test_what_grows_too_old_while_the_rest_is_said_again_does_not_have_that_said_twice() -> None:
    server = Server()

    async def send_for_long(script: str, keys: Sequence[bytes], args: Sequence[Argument]) -> None:
        await server.send(script, keys, args)
        server.replay._forget_older_than(monotonic())

    server.replay._send = send_for_long
    for name in (b"a", b"b", b"c"):
        server.keep(name, head=[name, *HEAD[1:]])
    async with server.tended():
        server.replay.begin_again()
        await happens(lambda: server.counters["replayed"])
    assert server.names == [[b"a"]]
