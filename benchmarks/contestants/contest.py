"""What every contestant has in common: the five measurements, and the one JSON line that each process prints.

Runs inside the environment of every contestant, so it may import the standard library and uvloop, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from cProfile import Profile
from dataclasses import dataclass
from typing import Any

import uvloop

CONCURRENCY = 32
QUEUE = "bench"
IN_FLIGHT = 200
WARM_UP_TRIPS = 10
PATIENCE_S = 30

RoundTrip = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Count:
    """A Redis command that counts tasks; ``falling`` when it counts those that are not finished yet."""

    command: tuple[str, ...]
    falling: bool = False


@dataclass(slots=True)
class Tally:
    """Counts the runs of the no-op task inside the worker, and remembers when the first one began."""

    ran: int = 0
    first_start: float = 0.0
    first_cpu: float = 0.0

    def hit(self) -> None:
        """Count one run."""
        if not self.ran:
            self.first_start, self.first_cpu = time.monotonic(), time.process_time()
        self.ran += 1

    def report(self) -> dict[str, Any]:
        """Say what ran, as the last line of the worker process."""
        cpu_s = time.process_time() - self.first_cpu if self.ran else 0.0
        return {"ran": self.ran, "first_start": self.first_start, "cpu_s": cpu_s}


class Contestant(ABC):
    """One library under test. A subclass says how its documentation spells each step."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.waits_for_replica = False
        """Whether an enqueue returns only when a replica has the task too, in a library that can do so."""

    @abstractmethod
    def connected(self) -> AbstractAsyncContextManager[Any]:
        """Be a producer with an open connection."""

    @abstractmethod
    async def enqueue_batch(self, count: int) -> None:
        """Enqueue in the fastest way that the library documents."""

    @abstractmethod
    async def enqueue_one(self) -> Any:
        """Enqueue one task and return when the server has it."""

    @abstractmethod
    def round_trips(self) -> dict[str, RoundTrip]:
        """Ways to enqueue and wait for the result; each returns its seconds. The documented one comes first."""

    @abstractmethod
    def queued(self) -> Count:
        """How many tasks wait in Redis."""

    @abstractmethod
    def finished(self) -> Count:
        """How many tasks have their results in Redis."""

    @abstractmethod
    async def count_results(self, expected: int) -> int:
        """Read the stored results with the library's own functions and count the successes."""

    @abstractmethod
    def run_worker(self) -> None:
        """Run the worker as in production until SIGTERM."""


async def enqueue_batch(contestant: Contestant, count: int) -> dict[str, Any]:
    """One batch of *count* tasks, on a connection that is already warm."""
    async with contestant.connected():
        await contestant.enqueue_one()
        started = time.perf_counter()
        await contestant.enqueue_batch(count)
        return _rate(contestant, count, time.perf_counter() - started)


async def enqueue_one(contestant: Contestant, count: int) -> dict[str, Any]:
    """*count* tasks, each awaited before the next."""
    async with contestant.connected():
        await contestant.enqueue_one()
        started = time.perf_counter()
        for _ in range(count):
            await contestant.enqueue_one()
        return _rate(contestant, count, time.perf_counter() - started)


async def enqueue_concurrent(contestant: Contestant, count: int) -> dict[str, Any]:
    """*count* single enqueues from one task group, ``IN_FLIGHT`` of them at a time."""
    pending = iter(range(count))

    async def lane() -> None:
        for _ in pending:
            await contestant.enqueue_one()

    async with contestant.connected():
        await contestant.enqueue_one()
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(lane())
        return _rate(contestant, count, time.perf_counter() - started)


async def enqueue_batch_replicated(contestant: Contestant, count: int) -> dict[str, Any]:
    """``enqueue_batch`` to a primary with a replica."""
    contestant.waits_for_replica = True
    return await enqueue_batch(contestant, count)


async def enqueue_one_replicated(contestant: Contestant, count: int) -> dict[str, Any]:
    """``enqueue_one`` to a primary with a replica."""
    contestant.waits_for_replica = True
    return await enqueue_one(contestant, count)


async def fill(contestant: Contestant, count: int) -> dict[str, Any]:
    """Leave exactly *count* tasks in the queue, for the drain."""
    async with contestant.connected():
        await contestant.enqueue_batch(count)
    return {"queued": contestant.queued().command, "expected": count}


async def latency(contestant: Contestant, count: int) -> dict[str, Any]:
    """*count* round trips, one after the other, for each way of waiting; a worker must be idle elsewhere."""
    async with contestant.connected():
        return {name: await _trips(trip, count) for name, trip in contestant.round_trips().items()}


async def verify(contestant: Contestant, count: int) -> dict[str, Any]:
    """Count the results that the library itself can read back."""
    async with contestant.connected():
        return {"results": await contestant.count_results(count)}


MEASUREMENTS: dict[str, Callable[[Contestant, int], Coroutine[Any, Any, dict[str, Any]]]] = {
    "enqueue_batch": enqueue_batch,
    "enqueue_one": enqueue_one,
    "enqueue_concurrent": enqueue_concurrent,
    "enqueue_batch_replicated": enqueue_batch_replicated,
    "enqueue_one_replicated": enqueue_one_replicated,
    "fill": fill,
    "latency": latency,
    "verify": verify,
}


def main(make: Callable[[str, str], Contestant]) -> None:
    """Run what the command line names and print its result as one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=[*MEASUREMENTS, "worker"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--profile", help="write a cProfile of the worker to this file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    contestant = make(arguments.url, os.environ["BENCH_SECRET"])
    if arguments.verb == "worker":
        work(contestant, arguments.profile)
    else:
        _say(uvloop.run(MEASUREMENTS[arguments.verb](contestant, arguments.count)))


def work(contestant: Contestant, profile: str | None) -> None:
    """Say how to watch the queue, run the worker until it is told to stop, and say what ran."""
    finished = contestant.finished()
    _say({"command": finished.command, "falling": finished.falling})
    if profile:
        profiler = Profile()
        profiler.runcall(contestant.run_worker)
        profiler.dump_stats(profile)
    else:
        contestant.run_worker()
    _say(contestant.tally.report())


def percentile(samples: list[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(samples)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


async def _trips(trip: RoundTrip, count: int) -> dict[str, float]:
    for _ in range(WARM_UP_TRIPS):
        await trip()
    samples = [1000 * await trip() for _ in range(count)]
    return {"p50": percentile(samples, 50), "p99": percentile(samples, 99), "max": max(samples)}


def _rate(contestant: Contestant, count: int, seconds: float) -> dict[str, Any]:
    return {"per_second": count / seconds, "queued": contestant.queued().command, "expected": count + 1}


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
