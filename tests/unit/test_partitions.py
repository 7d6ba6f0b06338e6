"""The rules of partitions are frozen like the layout: another release must find a task where this one has put it."""

from __future__ import annotations

from collections import Counter

import pytest

from secure_queue import ConfigurationError
from secure_queue.partitions import (
    MOST_PARTITIONS,
    STRIDE,
    STRIDE_S,
    Rota,
    generated_id,
    homes,
    is_generated,
    is_misplaced,
    named_partition,
    partition_of,
    slices,
)
from secure_queue.redis.keys import BUCKETS, bucket_of
from secure_queue.settings import queue_settings

JTI = bytes(range(16))


def test_a_generated_id_names_its_partition_and_is_what_it_was_in_the_first_one() -> None:
    assert generated_id(JTI, 0) == JTI.hex()
    assert generated_id(JTI, 7) == f"7.{JTI.hex()}"
    for partition in range(MOST_PARTITIONS):
        task_id = generated_id(JTI, partition)
        assert named_partition(task_id) == partition
        assert is_generated(task_id, JTI)
        assert not is_generated(task_id, bytes(16))


@pytest.mark.parametrize(
    "task_id",
    ["order-17", "", "3", "64." + JTI.hex(), "07." + JTI.hex(), "3." + JTI.hex().upper(), "3." + JTI.hex() + "a", ".x"],
)
def test_other_ids_name_none(task_id: str) -> None:
    assert named_partition(task_id) is None
    assert not is_generated(task_id, JTI)


@pytest.mark.parametrize(
    ("task_id", "partition"), [("order-17", 0), ("order-18", 7), ("a", 7), ("7." + "0" * 32, 7), ("0" * 32, 0)]
)
def test_where_a_task_is_kept(task_id: str, partition: int) -> None:
    assert partition_of(task_id, 8) == partition
    assert partition_of("order-17", 1) == 0


def test_ids_of_ones_own_are_spread_evenly() -> None:
    spread = Counter(partition_of(f"order-{number}", 8) for number in range(8000))
    assert min(spread.values()) > 800


def test_the_ids_of_every_partition_fill_all_buckets() -> None:
    for partition in (0, 3, 63):
        buckets = {bucket_of(generated_id(bytes([number]) * 16, partition).encode()) for number in range(256)}
        assert len(buckets) > BUCKETS / 4  # the last two digits are equal here


def test_a_task_that_lies_where_its_id_does_not_lead_is_misplaced() -> None:
    assert not is_misplaced(generated_id(JTI, 3), 3)
    assert is_misplaced(generated_id(JTI, 3), 0)
    assert is_misplaced(generated_id(JTI, 0), 3)
    assert not is_misplaced(generated_id(JTI, 0), 0)
    assert not is_misplaced("order-17", 2)


def test_ids_that_are_made_together_go_together_and_then_in_turn() -> None:
    rota = Rota(4, first=1)
    dealt = [rota.next(0.0, lambda _: False) for _ in range(4 * STRIDE)]
    assert dealt == [which for which in (2, 3, 0, 1) for _ in range(STRIDE)]
    assert [rota.next(number * STRIDE_S, lambda _: False) for number in range(1, 5)] == [2, 3, 0, 1]


def test_partitions_in_trouble_are_passed_over_as_long_as_others_are_well() -> None:
    rota = Rota(4, first=0)
    assert rota.next(0.0, lambda _: False) == 1
    assert [rota.next(0.0, {1, 2}.__contains__) for _ in range(2)] == [3, 3]
    assert {rota.next(float(number), lambda _: True) for number in range(1, 9)} == {0, 1, 2, 3}


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 40])
def test_every_worker_waits_at_equally_many_partitions_and_at_each_wait_two(partitions: int, count: int) -> None:
    workers = [f"worker-{number}" for number in range(count)]
    chosen = homes(partitions, workers)
    each = min(partitions, -(-2 * partitions // count))
    assert {len(mine) for mine in chosen.values()} == {each}
    waiters = Counter(partition for mine in chosen.values() for partition in mine)
    assert len(waiters) == partitions
    assert min(waiters.values()) >= min(2, count)
    assert max(waiters.values()) - min(waiters.values()) <= 1
    assert homes(partitions, workers[::-1]) == chosen


def test_nobody_waits_where_nobody_works() -> None:
    assert homes(4, []) == {}


def test_a_page_of_lists_that_stand_behind_each_other() -> None:
    sizes = [3, 0, 5, 2]
    whole = [(which, place) for which, size in enumerate(sizes) for place in range(size)]
    for offset in range(12):
        for limit in range(12):
            page = [
                (which, place)
                for which, first, count in slices(sizes, offset, limit)
                for place in range(first, first + count)
            ]
            assert page == whole[offset : offset + limit]


@pytest.mark.parametrize("partitions", [0, -1, MOST_PARTITIONS + 1, "auto", 1.5])
def test_a_number_of_partitions_that_makes_no_sense_is_refused(partitions: int) -> None:
    with pytest.raises(ConfigurationError, match="partitions must be a whole number from 1 to 64"):
        queue_settings("q", None, partitions)
