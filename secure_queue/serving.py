"""Runs the tasks of several queues in one process, whose seats they share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus

from secure_queue.control import RunReport
from secure_queue.errors import ConfigurationError
from secure_queue.execution.sharing import SharedSeats
from secure_queue.settings import MOST_SEATS, whole_number
from secure_queue.worker import Worker


async def serve(
    *workers: Worker[Any],
    weights: Sequence[int] | None = None,
    concurrency: int | None = None,
    task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
) -> list[RunReport]:
    """Run *workers*, each of which has a queue of its own, until all of them have ended; says what each has done.

    They share *concurrency* seats, else as many as the largest of them has. Without *weights* the order is strict: a queue
    gets seats only while those before it have nothing to run. With them, queues that have work start tasks in proportion,
    ``weights=(3, 1)``. One that cannot reach its server holds up no other.

    The end of one, by an error or because it has done enough, asks the others to end in peace; errors are raised then.
    """
    seats = _shared_seats(workers, weights, concurrency)
    crew = _Crew(workers)
    for worker, share in zip(workers, seats.shares, strict=True):
        worker.share = share
    try:
        async with anyio.create_task_group() as group:
            for place in range(len(workers)):
                group.start_soon(crew.run, group, place, task_status)
    finally:
        for worker in workers:
            worker.share = None
    if crew.problems:
        raise crew.problems[0]
    return [report for report in crew.reports if report is not None]


def _shared_seats(
    workers: Sequence[Worker[Any]], weights: Sequence[int] | None, concurrency: int | None
) -> SharedSeats:
    if not workers or len(set(map(id, workers))) != len(workers) or not all(isinstance(one, Worker) for one in workers):
        raise ConfigurationError("serve() takes different Worker objects, one for each queue, highest first")
    if any(one.has_queue_of(other) for one, other in combinations(workers, 2)):
        raise ConfigurationError(
            "serve() takes one Worker object for each queue; one with a higher concurrency= does the work of two of a queue"
        )
    if weights is not None and (
        not isinstance(weights, Sequence)
        or len(weights) != len(workers)
        or not all(_is_weight(weight) for weight in weights)
    ):
        raise ConfigurationError(
            f"weights= are as many whole numbers as there are queues, here {len(workers)}, for example weights=(3, 1)"
        )
    wanted = max(worker.concurrency for worker in workers) if concurrency is None else concurrency
    return SharedSeats(whole_number("concurrency", wanted, MOST_SEATS), len(workers), weights)


def _is_weight(weight: object) -> bool:
    return isinstance(weight, int) and not isinstance(weight, bool) and 1 <= weight <= 1000


class _Crew:
    """The workers of one ``serve``."""

    def __init__(self, workers: Sequence[Worker[Any]]) -> None:
        self._workers = workers
        self._ready = 0
        self.reports: list[RunReport | None] = [None] * len(workers)
        self.problems: list[Exception] = []

    async def run(self, group: TaskGroup, place: int, ready: TaskStatus[None]) -> None:
        """Run the worker at *place* to its end."""
        await group.start(self._run, place)
        self._ready += 1
        if self._ready == len(self._workers):
            ready.started()

    async def _run(self, place: int, *, task_status: TaskStatus[None]) -> None:
        worker, begun = self._workers[place], _Once(task_status)
        try:
            if self.problems:
                return
            report = self.reports[place] = await worker.run_async(task_status=begun)
            if report.has_done_enough:
                self._end_all()
        except Exception as error:  # kept out of the group, which would wrap it
            self.problems.append(error)
            self._end_all()
        finally:
            begun.started()

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.drain()


class _Once:
    """Says that a worker has started, or has ended before."""

    def __init__(self, status: TaskStatus[None]) -> None:
        self._status = status
        self._told = False

    def started(self, value: None = None) -> None:
        """Say it, if it was not said yet."""
        if not self._told:
            self._told = True
            self._status.started()
