"""``handle_signals=[SIGQUIT]``: which signals end a worker; ``[]`` is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence

import anyio
import pytest

from secure_queue import ConfigurationError, Worker
from tests.servers import PATIENCE, happens
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What the host's own handlers have received."""
    numbers: list[int] = []
    note: Callable[..., None] = lambda number, _: numbers.append(number)  # noqa: E731
    before = {number: signal.signal(number, note) for number in WATCHED}
    yield numbers
    for number, handler in before.items():
        assert signal.getsignal(number) is note, "a worker has not put it back"
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGHUP])
async def test_those_of_the_list_end_a_run_in_peace_and_the_others_are_the_hosts(
    place: Place, number: int, heard: list[int]
) -> None:
    worker, ended = place.worker(handle_signals=[number]), list[str]()

    @worker.actor
    async def job() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), number)
        await anyio.sleep(0.05)  # work that is left when the signal comes
        ended.append("the job")

    async with worker:
        await job.enqueue()
        with anyio.fail_after(PATIENCE):
            await worker.run_async()
    assert ended == ["the job"]
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
