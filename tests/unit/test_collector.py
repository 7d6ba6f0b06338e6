"""The garbage collector of a worker process leaves the application alone, and is as it was afterwards."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from secure_queue.collector import YOUNGEST, calm_collector


class Cycle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def usual_settings() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_what_was_there_is_left_out_until_the_end() -> None:
    with calm_collector():
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() == (YOUNGEST, 10, 10)
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == (700, 10, 10)


def test_it_is_as_it_was_after_an_error_too() -> None:
    with pytest.raises(ValueError, match="mine"), calm_collector():
        raise ValueError("mine")
    assert (gc.get_freeze_count(), gc.get_threshold()) == (0, (700, 10, 10))


def test_cycles_that_tasks_leave_behind_are_collected() -> None:
    with calm_collector():
        gone = weakref.ref(Cycle())
        kept = [[] for _ in range(2 * YOUNGEST)]  # type: list[list[int]]
    assert gone() is None
    assert kept


def test_nothing_is_changed_where_the_application_has_settled_it() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with calm_collector():
            assert (gc.get_freeze_count(), gc.get_threshold()) == (frozen, (700, 10, 10))
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
    gc.disable()
    try:
        with calm_collector():
            assert gc.get_freeze_count() == 0
    finally:
        gc.enable()
    gc.set_threshold(50_000, 10, 10)
    with calm_collector():
        assert gc.get_threshold() == (50_000, 10, 10)


def test_nothing_is_changed_beside_the_main_thread() -> None:
    seen: list[tuple[int, int]] = []

    def work() -> None:
        with calm_collector():
            seen.append((gc.get_freeze_count(), gc.get_threshold()[0]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, 700)]
