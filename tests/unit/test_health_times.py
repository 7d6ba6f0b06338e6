"""When a worker tells how it is, and what it says."""

from __future__ import annotations

import logging

import pytest

from secure_queue.cron import Cron, moments_of
from secure_queue.errors import ConfigurationError
from secure_queue.health import Health
from secure_queue.health_times import HealthTimes, log_health

pytestmark = pytest.mark.anyio

MINUTE_MS = 60_000


class Scene:
    """A clock that is set by hand, and the moments at which something was told."""

    def __init__(self, crontab: str) -> None:
        self.now_ms, self.told = 1_000_000 * MINUTE_MS, list[int]()
        self.times = HealthTimes(Cron(crontab), self.tell, lambda: self.now_ms)

    async def tell(self) -> None:
        self.told.append(self.now_ms // MINUTE_MS - 1_000_000)

    async def tick_at(self, minutes: float) -> float | None:
        self.now_ms = (1_000_000 * MINUTE_MS) + round(minutes * MINUTE_MS)
        return await self.times.tick()


async def test_it_is_told_at_each_moment_once_and_says_when_the_next_one_comes() -> None:
    scene = Scene("*/5 * * * *")
    assert [await scene.tick_at(minutes) for minutes in (0, 4.5, 5, 5, 9)] == [300, 30, 300, 300, 60]
    assert scene.told == [5]


async def test_moments_that_were_missed_are_told_once() -> None:
    scene = Scene("* * * * *")
    assert [await scene.tick_at(minutes) for minutes in (0, 7.5)] == [60, 30]
    assert scene.told == [7]


async def test_a_moment_in_which_the_server_is_away_is_not_told_again_and_again() -> None:
    scene = Scene("* * * * *")

    async def fail() -> None:
        raise ConnectionError

    scene.times._tell = fail
    with pytest.raises(ConnectionError):
        await scene.tick_at(1)
    assert await scene.tick_at(1.5) == 30


def test_without_an_expression_nothing_is_told_and_a_bad_one_is_refused() -> None:
    assert moments_of(None, "UTC") is None
    assert moments_of("*/5 * * * *", "Europe/Berlin") == Cron("*/5 * * * *", "Europe/Berlin")
    with pytest.raises(ConfigurationError, match="crontab expression"):
        moments_of("every now and then", "UTC")


def test_one_line_says_how_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "secure_queue.health"):
        log_health("w1", Health("mail", (), True, 3, 120))
        log_health("w1", Health("mail", ("no answer for 5 s", "stopping"), False, 0, 121))
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("INFO", "worker w1 of queue mail is well: 3 running, 120 processed"),
        ("WARNING", "worker w1 of queue mail: 0 running, 121 processed; no answer for 5 s, stopping"),
    ]
