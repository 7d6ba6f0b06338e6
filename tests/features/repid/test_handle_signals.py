"""``handle_signals=[SIGQUIT]``: which signals end a worker; ``[]`` is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence

import anyio
import pytest

from secure_queue import ConfigurationError, Worker
from tests.features.signals import WATCHED, ends_in_peace, heard_by_the_host
from tests.servers import PATIENCE, happens
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What the host's own handlers have received."""
    with heard_by_the_host() as numbers:
        yield numbers


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP])
async def test_those_of_the_list_end_a_run_in_peace_and_the_others_are_the_hosts(
    place: Place, number: int, heard: list[int]
) -> None:
    await ends_in_peace(place.worker(handle_signals=[number]), signal.SIGTERM, number)
    assert heard == [signal.SIGTERM]


async def test_an_empty_list_leaves_all_of_them_alone(place: Place, heard: list[int]) -> None:
    worker = place.worker(handle_signals=[])
    async with running(worker):
        for number in WATCHED:
            os.kill(os.getpid(), number)
        await happens(lambda: heard == list(WATCHED))


async def test_two_workers_of_one_process_each_hear_their_own(place: Place, heard: list[int]) -> None:
    one, two = (place.worker(handle_signals=[number]) for number in (signal.SIGQUIT, signal.SIGTERM))
    async with anyio.create_task_group() as group:
        await group.start(two.run_async)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as inner:
                await inner.start(one.run_async)
                os.kill(os.getpid(), signal.SIGQUIT)
        assert two.health().ready
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == []


@pytest.mark.parametrize(
    "wrong", [[signal.SIGKILL], [9999], ["SIGTERM"], signal.SIGTERM], ids=["kill", "unknown", "name", "no-list"]
)
def test_what_is_no_list_of_signals_is_refused(wrong: Sequence[int]) -> None:
    with pytest.raises(ConfigurationError, match="handle_signals"):
        Worker("memory://", handle_signals=wrong)
