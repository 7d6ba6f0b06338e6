"""Which partition a task belongs to, which one a new task goes to, and at which of them a worker waits. Pure rules.

A partition is a slot of its own in a cluster, so that one queue uses many servers. The id of a task names its partition:
nobody has to ask for it, and everybody finds the same answer.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence

from secure_queue.errors import ConfigurationError

MOST_PARTITIONS = 64
"""More than any cluster of a queue's size has primaries; what the register says beyond it is a forgery or a fault."""
WAITERS = 2
"""At every partition at least so many workers wait, if there are so many: one may be busy, or die."""
STRIDE, STRIDE_S = 100, 0.05
"""So many ids in a row, or those of so short a time, name the same partition: what is enqueued together travels together."""

_GENERATED = re.compile(r"(?:([0-9]|[1-5][0-9]|6[0-3])\.)?[0-9a-f]{32}")


def generated_id(jti: bytes, partition: int) -> str:
    """The id of a task that brings none; the partition stands in front, because the end of an id decides its bucket."""
    return f"{partition}.{jti.hex()}" if partition else jti.hex()


def is_generated(task_id: str, jti: bytes) -> bool:
    """Whether *task_id* was made for this very enqueue."""
    plain = jti.hex()
    return task_id == plain or (task_id.endswith(plain) and _GENERATED.fullmatch(task_id) is not None)


def named_partition(task_id: str) -> int | None:
    """The partition that an id of the generated form names; None for any other id."""
    found = _GENERATED.fullmatch(task_id)
    return int(found[1] or 0) if found else None


def partition_of(task_id: str, key_partitions: int) -> int:
    """Where a task is kept: a generated id says it, an id of one's own is one of *key_partitions* by its checksum."""
    named = named_partition(task_id)
    return binascii.crc_hqx(task_id.encode(), 0) % key_partitions if named is None else named


def home_of(digest: bytes, key_partitions: int) -> int:
    """Where a limit is kept: in one of *key_partitions*, by the checksum of its digest."""
    return binascii.crc_hqx(digest, 0) % key_partitions


def partition_of_keys(checksums: Collection[int], key_partitions: int) -> int:
    """Where the tasks of a call's keys are kept, so that one server decides; raises ``ConfigurationError``."""
    if key_partitions > 1 and len(checksums) > 1:
        raise ConfigurationError(
            "in a queue with several partitions a call has one key: say the same for unique_key= and for its line"
        )
    return next(iter(checksums)) % key_partitions


def is_misplaced(task_id: str, partition: int) -> bool:
    """Whether a task of this id cannot have been put into *partition* by its producer."""
    if partition == 0 and "." not in task_id[:3]:
        return False
    return named_partition(task_id) not in (None, partition)


class Rota:
    """Deals out partitions in turn, a stride of ids to each; those in trouble are passed over while others are well."""

    def __init__(self, partitions: int, first: int) -> None:
        self._partitions = partitions
        self._current = first % partitions
        self._left = 0
        self._until_s = 0.0

    def next_id(self, jti: bytes, now_s: float, in_trouble: Callable[[int], bool] | None) -> str:
        """The id of a new task; *in_trouble* is None where nobody knows how the partitions are."""
        return generated_id(jti, self.next(now_s, in_trouble or _never))

    def next(self, now_s: float, in_trouble: Callable[[int], bool]) -> int:
        """The partition of the next id at the monotonic second *now_s*."""
        if self._left <= 0 or now_s >= self._until_s or in_trouble(self._current):
            self._current = self._following(in_trouble)
            self._left, self._until_s = STRIDE, now_s + STRIDE_S
        self._left -= 1
        return self._current

    def _following(self, in_trouble: Callable[[int], bool]) -> int:
        others = [(self._current + step) % self._partitions for step in range(1, self._partitions + 1)]
        return next((one for one in others if not in_trouble(one)), others[0])


def _never(_: int) -> bool:
    return False


def homes(partitions: int, workers: Collection[str]) -> dict[str, frozenset[int]]:
    """At which partitions each worker waits for work; at the others it only looks in now and then.

    Everybody waits at equally many, ``ceil(2 * partitions / workers)``, and no partition has two waiters more than
    another. All who know the same workers find the same answer.
    """
    if not workers:
        return {}
    each = min(partitions, -(-WAITERS * partitions // len(workers)))
    waiters = [0] * partitions
    chosen: dict[str, frozenset[int]] = {}
    for worker in sorted(workers):
        order = sorted(range(partitions), key=lambda one: (waiters[one], _liking(worker, one)))
        chosen[worker] = frozenset(order[:each])
        for one in order[:each]:
            waiters[one] += 1
    return chosen


def _liking(worker: str, partition: int) -> bytes:
    """Spreads workers that have an equal choice."""
    return hashlib.blake2b(f"{worker}/{partition}".encode(), digest_size=8).digest()


def still_needed(holding: Sequence[bool], least: int) -> int:
    """How many partitions must go on being served: *least*, and all up to the last one that holds something."""
    return max([least, *(number + 1 for number, holds in enumerate(holding) if holds)])


def slices(sizes: Sequence[int], offset: int, limit: int) -> Iterator[tuple[int, int, int]]:
    """One page of several lists behind each other, of which the sizes are known: (which list, offset in it, how many)."""
    for which, size in enumerate(sizes):
        if limit <= 0:
            return
        if offset < size:
            count = min(size - offset, limit)
            yield which, offset, count
            limit -= count
        offset = max(0, offset - size)
