"""The only place that reaches inside of a worker object: what a test puts in the place of its own, and takes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias, cast

from secure_queue.declare_schedules import Declared
from secure_queue.errors import SecureQueueError
from secure_queue.execution.runs import Desk
from secure_queue.execution.scheduler import Scheduler
from secure_queue.payload.codec import Codec
from secure_queue.presence import PRODUCER
from secure_queue.redis.connect import LinkKinds
from secure_queue.redis.host import Host
from secure_queue.redis.topology import Embedded, Memory, Topology
from secure_queue.settings import WorkerSettings
from secure_queue.storage import Storages
from secure_queue.worker import Worker

Overrides: TypeAlias = Mapping[Callable[..., Any], Callable[..., Any]]


class Own:
    """Stands for what the worker itself has, where None could be meant."""


OWN = Own()


def codec_of(worker: Worker[Any]) -> Codec:
    """What seals and opens the payloads of the worker."""
    return worker._codec


def settings_of(worker: Worker[Any]) -> WorkerSettings:
    """How the worker runs tasks."""
    return worker._settings


def in_memory_instead(worker: Worker[Any]) -> Memory:
    """The database that stands for the worker's server: the same for all objects that name the same server."""
    place = worker._topology
    private = place == Memory("") or place == Embedded()
    return Memory(f"instead of {id(worker) if private else place}")


@contextmanager
def replaced(
    worker: Worker[Any], topology: Topology, kinds: LinkKinds, context: object, overrides: Overrides
) -> Iterator[None]:
    """Let *worker* use *topology*, leave signals alone, and have other dependencies.

    *context* stands in the place of its lifespan's, and of *overrides* each value is called in the place of its key.
    """
    if any(worker._clients.values()) or worker._is_running:
        raise SecureQueueError("the worker object is open or runs already; enter its TestWorker before that")
    before, dependencies = (worker._host, worker._settings, worker._lifespan), dict(worker.dependency_overrides)
    worker.dependency_overrides.update(overrides)
    worker._host = Host(topology, kinds)
    worker._settings = replace(worker._settings, handle_signals=())
    if context is not OWN:
        worker._lifespan = lambda: nullcontext(context)
    try:
        yield
    finally:
        worker._host, worker._settings, worker._lifespan = before
        worker.dependency_overrides.clear()
        worker.dependency_overrides.update(dependencies)


def producer_of(worker: Worker[Any]) -> AbstractAsyncContextManager[Storages]:
    """Links and a client for the time of the context, beside those of an ``async with worker:``."""
    return worker._connected(PRODUCER)


async def partitions_of(worker: Worker[Any]) -> Iterable[int]:
    """The partitions that anybody uses."""
    return await worker._client().routes.in_use()


def scheduler_of(worker: Worker[Any], storages: Storages) -> Scheduler:
    """A scheduler that fires what the worker declares, and what is stored."""
    return Scheduler(storages.at(0), worker._codec, worker.declared_schedules, Desk(), worker._queue)


@contextmanager
def one_life(worker: Worker[Any]) -> Iterator[None]:
    """Let a run end when nothing is ready, and fire nothing because it starts: it goes on with the test's own run."""
    burst, declared, limits = worker.burst, worker.declared_schedules, (worker.messages_limit, worker.memory_limit)
    worker.burst, worker.declared_schedules = True, _not_at_startup(declared)
    worker.messages_limit, worker.memory_limit = None, None  # not for the process of tests
    try:
        yield
    finally:
        later = worker.declared_schedules
        declared.update({name: one for name, one in later.items() if name not in declared})
        worker.burst, worker.declared_schedules = burst, declared
        worker.messages_limit, worker.memory_limit = limits


def _not_at_startup(declared: Mapping[str, Declared]) -> dict[str, Declared]:
    plans = {name: replace(one.repeated.plan, at_startup=False) for name, one in declared.items()}
    return {name: replace(one, repeated=replace(one.repeated, plan=plans[name])) for name, one in declared.items()}


def counted(worker: Worker[Any]) -> Mapping[str, int]:
    """What the last run has done."""
    return cast("Mapping[str, int]", worker._counters)
