"""The main job: one signed task per file, the results gathered as they come, each compared with a direct computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from secure_queue.clock import monotonic
from secure_queue.demo.crew import DemoFailed
from secure_queue.demo.tasks import FileFacts, Tasks, facts_of
from secure_queue.tasks import Task, TaskResult

BATCH = 1000
PATIENCE_S = 60.0

Advance = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileResult:
    """What the queue answered about one file, and whether a direct computation says the same."""

    path: Path
    facts: FileFacts | None
    verified: bool


@dataclass(frozen=True, slots=True)
class Job:
    """The main job after its end; ``run_s`` lasts from the start of the first task to the end of the last.

    ``enqueue_s`` is the time of the first *timed* tasks.
    """

    results: tuple[FileResult, ...]
    timed: int
    enqueue_s: float
    run_s: float

    @property
    def hashed_bytes(self) -> int:
        """How many bytes the tasks have read."""
        return sum(result.facts.size for result in self.results if result.facts is not None)

    @property
    def wrong(self) -> list[Path]:
        """The files whose result is missing or differs from the direct computation."""
        return [result.path for result in self.results if not result.verified]

    def largest(self, count: int) -> list[FileResult]:
        """The results of the largest files."""
        return sorted(self.results, key=lambda result: -result.facts.size if result.facts else 0)[:count]


async def enqueue(tasks: Tasks, files: Sequence[Path], advance: Advance) -> tuple[list[Task[FileFacts]], float]:
    """Seal and enqueue one task per file; also say how many seconds it took."""
    started = monotonic()
    enqueued: list[Task[FileFacts]] = []
    for some in _batches(files):
        batch = [tasks.checksum.enqueue(path) for path in some]
        await tasks.worker.enqueue_many(batch)
        enqueued += batch
        advance(len(batch))
    return enqueued, monotonic() - started


async def gather(tasks: Sequence[Task[FileFacts]], advance: Advance) -> list[TaskResult[FileFacts]]:
    """The results of all tasks, in their order; raises ``DemoFailed`` if none comes for a long time."""
    results: list[TaskResult[FileFacts]] = []
    for some in _batches(tasks):
        results += await _gather_batch(some, advance)
    return results


async def _gather_batch(tasks: Sequence[Task[FileFacts]], advance: Advance) -> list[TaskResult[FileFacts]]:
    found: dict[str, TaskResult[FileFacts]] = {}

    async def collect(task: Task[FileFacts]) -> None:
        found[task.id] = await task.result()
        patience.deadline = anyio.current_time() + PATIENCE_S
        advance(1)

    with anyio.move_on_after(PATIENCE_S) as patience:
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(collect, task)
    if len(found) < len(tasks):
        raise DemoFailed(f"no result came for {PATIENCE_S:g} seconds")
    return [found[task.id] for task in tasks]


def verify(files: Sequence[Path], results: Sequence[TaskResult[FileFacts]], advance: Advance) -> tuple[FileResult, ...]:
    """Compute everything again, here and without a queue, and compare."""
    return tuple(_verify(path, result, advance) for path, result in zip(files, results, strict=True))


def _verify(path: Path, result: TaskResult[FileFacts], advance: Advance) -> FileResult:
    advance(1)
    facts = result.result if result.success else None
    try:
        return FileResult(path, facts, facts == facts_of(path))
    except OSError:  # it was there when the input was chosen
        return FileResult(path, facts, verified=False)


def run_seconds(results: Sequence[TaskResult[FileFacts]]) -> float:
    """From the start of the first task to the end of the last one, by the workers' clock; at least 1 ms."""
    first = min(result.start_time for result in results)
    return max(1, max(result.finish_time for result in results) - first) / 1000


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[first : first + BATCH] for first in range(0, len(items), BATCH))
