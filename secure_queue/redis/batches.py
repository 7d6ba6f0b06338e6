"""Cuts what a verb is given into calls of a size that a slow connection carries before its deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

BATCH: Final = 200
BATCH_BYTES: Final = 4 << 20

T = TypeVar("T")


def batches(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """Cut *items* so that no call carries more than some hundred of them, or more than some megabytes."""
    left = iter(items)
    while batch := list(islice(left, 1)):
        size = size_of(batch[0])
        for item in left:
            batch.append(item)
            size += size_of(item)
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                break
        yield batch
