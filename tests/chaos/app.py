"""The application under test as real processes: ``python -m tests.chaos.app worker|producer OPTIONS`` (JSON).

A producer asks for one enqueue every so often, whatever has become of the ones before, and notes how each ended. When all
have ended it stays open until its standard input ends, as a web server would. A worker notes every run.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

from secure_queue import SecureQueueError, Task, Worker
from secure_queue.partitions import generated_id
from secure_queue.tasks import current_run
from tests.chaos.ledger import Ledger
from tests.chaos.verdict import line_of

QUEUE = "chaos"
SECRET = "vJq3bXw0-kT9dPzR5mYc1uN7hLs2aGf8eQx4oViW6Z0"
WORK_S = 0.02
LONGEST_PATIENCE_S = 0.006
"""How long the calls that are cancelled are waited for: some have been answered by then, most have not."""


def make_worker(url: str, options: dict[str, Any], ledger: Ledger | None = None) -> Worker[None]:
    """A worker object with the tasks of this application: the work, and what may have to be done before it."""
    worker: Worker[None] = Worker(url, queue_name=QUEUE, signing_secret=SECRET, **options)

    @worker.task(name="work", ttl=60, max_tries=None)
    async def work(number: int) -> None:
        await anyio.sleep(WORK_S)
        if ledger is not None:
            ledger.note("run", number, current_run.get().context().tries)

    @worker.task(name="prepare", ttl=60, max_tries=None)
    async def prepare(number: int) -> int:
        if ledger is not None:
            ledger.note("prepared", number)
        return number

    return worker


async def serve(worker: Worker[None], ledger: Ledger) -> None:
    """Run tasks until a signal."""
    async with anyio.create_task_group() as group:
        await group.start(worker.run_async)
        ledger.note("ready")
    for name, number in worker.counters.items():
        ledger.note("counter", name, number)


class Producer:
    """Enqueues *count* tasks, one every 1/*rate* seconds, each to run after *delay* seconds.

    Every *keyed*-th one has an id of its own; 0: none. *linked* ones wait for another task in another partition. The others
    stand in the lines of *ordered* keys in turn.
    """

    def __init__(
        self,
        make: Callable[..., Worker[None]],
        ledger: Ledger,
        *,
        rate: float,
        count: int,
        delay: float,
        keyed: int,
        linked: bool,
        ordered: int,
    ) -> None:
        self._make = make
        self._worker = make()
        self._ledger = ledger
        self._rate = rate
        self._count = count
        self._delay = delay
        self._keyed = keyed
        self._linked = linked
        self._ordered = ordered
        self._random = random.Random(26)

    async def run(self) -> None:
        """Produce; obey what comes in on standard input; leave when that ends."""
        async with self._worker, anyio.create_task_group() as group:
            group.start_soon(self._produce)
            async for line in anyio.wrap_file(sys.stdin):
                await self._obey(line.split(), group)
            group.cancel_scope.cancel()

    async def _obey(self, order: list[str], group: TaskGroup) -> None:
        match order:
            case ["cancel", number]:
                group.start_soon(self._cancel_calls, int(number))
            case ["partitions", number]:
                self._worker = await group.start(self._open, int(number))
                self._ledger.note("spread", number)

    async def _open(self, partitions: int, *, task_status: TaskStatus[Worker[None]]) -> None:
        """A further worker object, as another release of the producer would have it."""
        async with self._make(partitions=partitions) as worker:
            task_status.started(worker)
            await anyio.sleep_forever()

    async def _produce(self) -> None:
        begun = anyio.current_time()
        self._ledger.note("begun")
        async with anyio.create_task_group() as calls:
            for number in range(self._count):
                calls.start_soon(self._call, number)
                await anyio.sleep_until(begun + (number + 1) / self._rate)
            self._ledger.note("asked")
        self._ledger.note("returned")

    def _task(self, number: int) -> Task[Any]:
        if self._linked:
            return self._pair(number)
        task = self._worker.registry["work"].enqueue(number)
        if self._keyed and number % self._keyed == 0:
            task.id = f"order:{number}"
        line = line_of(number, self._keyed, self._ordered)
        if line is not None:
            task.start(order_by=f"line {line}")
        return task.start(delay=self._delay) if self._delay else task

    def _pair(self, number: int) -> Task[Any]:
        """Two tasks, on two shards, in turn this way round and that."""
        before = _at(self._worker.registry["prepare"].enqueue(number), number % 2)
        return _at(before | self._worker.registry["work"], 1 - number % 2)

    async def _call(self, number: int) -> None:
        started = monotonic()
        task = self._task(number)
        try:
            await task
        except SecureQueueError as error:
            self._ledger.note("refused", number, f"{monotonic() - started:.4f}", type(error).__name__)
        else:
            self._ledger.note("ack", number, f"{monotonic() - started:.4f}", task.durability)

    async def _cancel_calls(self, number: int) -> None:
        """Begin so many calls and give most of them up while they are under way."""
        async with anyio.create_task_group() as group:
            for place in range(number):
                task = self._task(-1 - place)
                call = (partial(_enqueue, task), task.status, partial(task.result, 1))[place % 3]
                group.start_soon(_give_up_on, call, self._random.uniform(0, LONGEST_PATIENCE_S))
                await checkpoint()
        self._ledger.note("cancelled", number)


def _at(task: Task[Any], partition: int) -> Task[Any]:
    task.id = generated_id(task.jti, partition)
    return task


async def _enqueue(task: Task[Any]) -> None:
    await task


async def _give_up_on(call: Any, patience: float) -> None:
    asked: Awaitable[Any] = call()
    with anyio.move_on_after(patience):
        try:
            await asked
        except SecureQueueError:  # no such task: its own enqueue may not have come through
            return


def main() -> None:
    """Read the options from the command line and play the role."""
    role, options = sys.argv[1], json.loads(sys.argv[2])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    ledger = Ledger(Path(options["ledger"]))

    def make(**other: object) -> Worker[None]:
        return make_worker(options["url"], options["worker"] | other, ledger)

    if role == "worker":
        anyio.run(serve, make(), ledger, backend=options["backend"])
    else:
        anyio.run(Producer(make, ledger, **options["load"]).run, backend=options["backend"])
    ledger.note("left")
    ledger.close()


if __name__ == "__main__":
    main()
