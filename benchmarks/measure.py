"""The measurements, each from a flushed server, each checked: what was not done does not count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Failed, Program, RunningWorker
from benchmarks.sealing import costs
from benchmarks.server import Server
from benchmarks.wire import Wire

SHORTEST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.25
STALL_S = 60.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is measured."""

    tasks: int = 20_000
    one_by_one: int = 3_000
    round_trips: int = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one contestant in one round."""

    per_second: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)
    ways: dict[str, dict[str, float]] = field(default_factory=dict)


def enqueue_batch(program: Program, server: Server, sizes: Sizes) -> Sample:
    """Everything at once, in the library's own bulk form."""
    return _enqueue(program, server, "enqueue_batch", sizes.tasks)


def enqueue_one(program: Program, server: Server, sizes: Sizes) -> Sample:
    """One after the other."""
    return _enqueue(program, server, "enqueue_one", min(sizes.one_by_one, sizes.tasks))


def enqueue_concurrent(program: Program, server: Server, sizes: Sizes) -> Sample:
    """Single enqueues from many coroutines of one process."""
    return _enqueue(program, server, "enqueue_concurrent", sizes.tasks)


def enqueue_batch_replicated(program: Program, server: Server, sizes: Sizes) -> Sample:
    """``enqueue_batch`` to a primary with a replica: ours returns when the replica has everything, others do not wait."""
    with server.replica():
        return _enqueue(program, server, "enqueue_batch_replicated", sizes.tasks)


def enqueue_one_replicated(program: Program, server: Server, sizes: Sizes) -> Sample:
    """``enqueue_one`` to a primary with a replica, in the same way."""
    with server.replica():
        return _enqueue(program, server, "enqueue_one_replicated", min(sizes.one_by_one, sizes.tasks))


def drain(program: Program, server: Server, sizes: Sizes) -> Sample:
    """From the first task's start, by the worker's clock, to the last result in Redis, seen from outside."""
    fill(program, server, sizes.tasks)
    with program.worker() as worker:
        finished_at = watch(server, worker, sizes.tasks)
        stored = program.call("verify", sizes.tasks)["results"]
    report, allowed = worker.report, program.contender.may_lose
    _expect(program, "ran", report["ran"], sizes.tasks, allowed)
    _expect(program, "stored results", stored, sizes.tasks, allowed)
    return Sample(
        per_second=sizes.tasks / (finished_at - report["first_start"]),
        extra={"worker_cpu_us": 1e6 * report["cpu_s"] / sizes.tasks, "ran": report["ran"], "results": stored},
    )


def latency(program: Program, server: Server, sizes: Sizes) -> Sample:
    """From enqueue to result with a worker that has nothing else to do."""
    server.flush()
    with program.worker():
        ways: dict[str, Any] = program.call("latency", sizes.round_trips)
    return Sample(ways=ways)


def seal(program: Program, server: Server, sizes: Sizes) -> Sample:
    """What a payload costs before and after Redis, for each suite; ours only."""
    return Sample(ways=costs())


MEASUREMENTS: dict[str, Callable[[Program, Server, Sizes], Sample]] = {
    "enqueue_batch": enqueue_batch,
    "enqueue_one": enqueue_one,
    "enqueue_concurrent": enqueue_concurrent,
    "enqueue_batch_replicated": enqueue_batch_replicated,
    "enqueue_one_replicated": enqueue_one_replicated,
    "drain": drain,
    "latency": latency,
    "seal": seal,
}
OURS_ONLY = frozenset({"seal"})


def fill(program: Program, server: Server, tasks: int) -> None:
    """Leave exactly *tasks* no-op tasks in the queue of an otherwise empty server."""
    server.flush()
    _check_queued(program, server, program.call("fill", tasks))


def watch(server: Server, worker: RunningWorker, tasks: int) -> float:
    """Wait until *tasks* have their results and return when that was seen."""
    done, moved_at = 0, time.monotonic()
    with Wire(server.port) as wire:
        while True:
            now_done, now = _finished(wire, worker, tasks), time.monotonic()
            if now_done >= tasks:
                return time.monotonic()
            if now_done == done and now - moved_at > STALL_S:
                raise Failed(f"no progress for {STALL_S:.0f} s at {done} of {tasks} tasks")
            time.sleep(pause(now_done - done, now - moved_at, tasks - now_done))
            if now_done > done:
                done, moved_at = now_done, now


def pause(progress: int, seconds: float, left: int) -> float:
    """Half of the time that the rest will take: few looks in the middle, where they disturb, and many at the end."""
    if progress <= 0:
        return SHORTEST_PAUSE_S
    return min(max(left * seconds / progress / 2, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def _enqueue(program: Program, server: Server, verb: str, count: int) -> Sample:
    server.flush()
    reply = program.call(verb, count)
    _check_queued(program, server, reply)
    return Sample(per_second=reply["per_second"])


def _check_queued(program: Program, server: Server, reply: dict[str, Any]) -> None:
    with Wire(server.port) as wire:
        _expect(program, "queued", wire.count(*reply["queued"]), reply["expected"])


def _finished(wire: Wire, worker: RunningWorker, tasks: int) -> int:
    counted = wire.count(*worker.count["command"])
    return tasks - counted if worker.count["falling"] else counted


def _expect(program: Program, what: str, got: int, expected: int, allowed: int = 0) -> None:
    if abs(got - expected) > allowed:
        raise Failed(f"{program.contender.title}: {what} {got:,} instead of {expected:,}")
