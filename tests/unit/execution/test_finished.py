"""The memory of finished tasks: it knows the latest, and is bounded by count and by bytes."""

from __future__ import annotations

import sys

from secure_queue.execution.finished import MOST_BYTES, Finished
from secure_queue.storage import End


def end(number: int, size: int = 10) -> End:
    return End(b"t%d" % number, b"token", 0, bytes(size))


def jti(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_what_was_finished_is_known_with_its_end() -> None:
    finished = Finished()
    finished.note([(jti(1), end(1))])
    assert finished.knows(jti(1)) and not finished.knows(jti(2))
    assert finished.end_of(jti(1)) == end(1)
    assert finished.end_of(jti(2)) is None


def test_the_latest_half_is_always_known_and_never_more_than_all() -> None:
    finished = Finished(most_ids=100)
    for number in range(1000):
        finished.note([(jti(number), end(number))])
        latest = range(max(0, number - 49), number + 1)
        assert all(finished.knows(jti(each)) for each in latest)
        assert len(finished._younger) + len(finished._older) <= 100
    assert not finished.knows(jti(0))


def test_results_are_forgotten_before_the_ids_when_they_are_large() -> None:
    finished = Finished(most_bytes=1000)
    for number in range(100):
        finished.note([(jti(number), end(number, 100))])
    assert finished.knows(jti(0)) and finished.end_of(jti(0)) is None
    assert finished.end_of(jti(99)) == end(99, 100)
    assert len(finished._ends) + len(finished._older_ends) <= 12


def test_a_hundred_thousand_tasks_take_little_memory() -> None:
    finished = Finished()
    for number in range(100_000):
        finished.note([(jti(number), end(number, 150))])
    held = [*finished._younger, *finished._older]
    kept = {**finished._ends, **finished._older_ends}
    bytes_of_ids = sum(map(sys.getsizeof, (*held, finished._younger, finished._older)))
    assert len(held) == 100_000
    assert bytes_of_ids < 12 << 20
    assert sum(len(each.sealed) for each in kept.values()) <= MOST_BYTES
