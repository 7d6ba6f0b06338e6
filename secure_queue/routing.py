"""The partitions of a queue as its clients see them: which one to ask for a task, and which ones are well.

A call that was sent to a partition stays with it until it is confirmed or its deadline has passed: nobody knows what came
of it, and the same task elsewhere would be another one. New ids go where things are well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio

from secure_queue.background import beside
from secure_queue.clock import monotonic
from secure_queue.coalesce import Coalescer
from secure_queue.durability import Durability, DurabilityPolicy
from secure_queue.errors import ConfigurationError, PartitionUnavailable, SecureQueueError, Unavailable
from secure_queue.handover import Description, Followed, Linked
from secure_queue.inbox import Inbox
from secure_queue.keyed import Kept, Keyed
from secure_queue.partitions import named_partition, partition_of, partition_of_keys, still_needed
from secure_queue.storage import Counts, NewTask, Register, Storage, Storages, Stored
from secure_queue.timetable import TimetableStorage

T = TypeVar("T")

BATCH = 500
SLOW_S = 1.0
"""An enqueue that takes longer is a sign of trouble: a frozen server refuses nothing."""
LOOK_AGAIN_S = 0.25
REMIND_S = 10.0
LOOK_AFTER_S = 60.0

_log = logging.getLogger("secure_queue.client")


class Route:
    """One partition: its storage, the enqueues and results under way, and how well it is."""

    def __init__(self, storage: Storage, policy: DurabilityPolicy, partition: int | None = None) -> None:
        self.storage = storage
        self._deadline_s = policy.deadline_s
        self._assurances = {level: policy.assurance(level) for level in policy.reach.possible}
        self._partition = partition  # None: there is one, and its number says nothing
        self._singles = {level: Coalescer(partial(self.enqueue, level), limit=BATCH) for level in policy.reach.possible}
        self._keyed = {level: Coalescer(partial(self._keep, level), limit=BATCH) for level in policy.reach.possible}
        self.inbox = Inbox(storage, os.urandom(8).hex())
        self._under_way: dict[object, float] = {}
        self._wanted = anyio.Event()

    async def run(self) -> None:
        """The background work, for ever."""
        async with anyio.create_task_group() as group:
            for run in [each.run for each in self._singles.values()] + [each.run for each in self._keyed.values()]:
                group.start_soon(run)
            group.start_soon(self.inbox.looks.run)
            group.start_soon(self.inbox.run)
            group.start_soon(self._see_whether_it_is_well_again)

    async def enqueue(self, level: Durability, tasks: Sequence[NewTask]) -> Sequence[Stored]:
        """Store new tasks, and wait for the copies of *level*."""
        return await self._confirmed(self.storage.enqueue(tasks, self._deadline_s, self._assurances[level]))

    async def enqueue_linked(self, level: Durability, look_ms: int, tasks: Sequence[Linked]) -> Sequence[Stored]:
        """The same for tasks of a workflow."""
        call = self.storage.enqueue_linked(tasks, look_ms, self._deadline_s, self._assurances[level])
        answers = await self._confirmed(call)
        return [Stored(*answer) for answer in answers]

    async def enqueue_keyed(self, level: Durability, tasks: Sequence[Keyed]) -> Sequence[Kept]:
        """The same for tasks that have keys; a single one goes with those of others, in the order of the calls."""
        if len(tasks) == 1:
            return [await self._keyed[level].ask(tasks[0])]
        return await self._keep(level, tasks)

    async def _keep(self, level: Durability, tasks: Sequence[Keyed]) -> Sequence[Kept]:
        return await self._confirmed(self.storage.enqueue_keyed(tasks, self._deadline_s, self._assurances[level]))

    async def _confirmed(self, call: Awaitable[T]) -> T:
        """What *call* answers, measured, and with the partition in its error."""
        mark = object()
        self._under_way[mark] = monotonic()
        try:
            return await call
        except Unavailable as error:
            raise error if self._partition is None else _naming(self._partition, error) from error
        finally:
            del self._under_way[mark]

    async def follow(self, level: Durability, parents: Sequence[tuple[bytes, bytes]]) -> Sequence[Followed]:
        """Note who depends on tasks of this partition; dependents of those that are gone are told so."""
        assurance = self._assurances[level]
        return await self.storage.follow(parents, tell=True, deadline=self._deadline_s, assurance=assurance)

    def enqueue_one(self, level: Durability, task: NewTask) -> Awaitable[Stored]:
        """Store a task, together with those of others who do the same now."""
        return self._singles[level].ask(task)

    def is_in_trouble(self) -> bool:
        """Whether new ids should better go elsewhere."""
        slow = bool(self._under_way) and monotonic() - next(iter(self._under_way.values())) > SLOW_S
        if slow or self.storage.in_trouble:
            self._wanted.set()
            return True
        return False

    async def _see_whether_it_is_well_again(self) -> None:
        """Nothing is sent to a partition in trouble, so somebody has to ask."""
        while True:
            await self._wanted.wait()
            try:
                await self.storage.watch("", ())  # who may only enqueue may ask this too
            except SecureQueueError as error:
                _log.warning("a partition is still passed over: %s", error)
            await anyio.sleep(LOOK_AGAIN_S)
            self._wanted = anyio.Event()


class Routes:
    """All partitions of one queue; open them with ``open_routes``."""

    def __init__(self, storages: Storages, partitions: int, policy: DurabilityPolicy) -> None:
        self._storages = storages
        self._partitions = partitions
        self._policy = policy
        self._usual_level = policy.assurance(None).level
        self.is_single = partitions == 1
        """Whether this client uses one partition; others may use more."""
        self._routes: dict[int, Route] = {}
        self._new: list[Route] = []
        self._grown = anyio.Event()
        self._known: Register | None = None
        self._asking = anyio.Lock()

    async def run(self) -> None:
        """The background work, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._remind)
            while True:
                self._grown = anyio.Event()
                while self._new:
                    group.start_soon(self._new.pop().run)
                await self._grown.wait()

    async def _remind(self) -> None:
        """Say again how many partitions are used here: somebody may have lowered the number, or lost it."""
        while True:
            await anyio.sleep(REMIND_S)
            if self._known is not None:
                try:
                    await self.register()
                except SecureQueueError as error:
                    _log.warning("it could not be noted how many partitions are used: %s", error)

    def at(self, partition: int) -> Route:
        """One partition."""
        found = self._routes.get(partition)
        if found is None:
            number = partition if self._partitions > 1 else None
            found = self._routes[partition] = Route(self._storages.at(partition), self._policy, number)
            self._new.append(found)
            self._grown.set()
        return found

    async def of(self, task_id: str) -> Route:
        """The partition of one task."""
        named = named_partition(task_id)
        return self.at(partition_of(task_id, (await self._register_once()).key_partitions) if named is None else named)

    async def for_new(self, task_id: str) -> int:
        """The partition of a new task; raises ``ConfigurationError`` if its id names one that nobody serves."""
        named = named_partition(task_id)
        if self.is_single and named == 0:
            return 0
        known = await self._register_once()  # workers serve the partitions that they have heard of
        if named is None:
            return partition_of(task_id, known.key_partitions)
        if named >= known.partitions and named >= (await self.register()).partitions:
            raise ConfigurationError(f"the id names partition {named}, which this queue does not have; use another id")
        return named

    async def grouped(self, task_ids: Sequence[str]) -> dict[int, list[int]]:
        """The places of new tasks in *task_ids*, by partition; raises like ``for_new``."""
        groups: dict[int, list[int]] = {}
        for place, task_id in enumerate(task_ids):
            groups.setdefault(await self.for_new(task_id), []).append(place)
        return groups

    def level(self, wanted: Durability | None) -> Durability:
        """What an enqueue waits for; raises ``ConfigurationError`` if it cannot be had here."""
        return self._usual_level if wanted is None else self._policy.assurance(wanted).level

    async def enqueue(
        self, level: Durability, tasks: Mapping[int, Sequence[NewTask]]
    ) -> tuple[dict[int, Sequence[Stored]], dict[int, SecureQueueError]]:
        """Store new tasks, all partitions at once; what one does not confirm takes nothing from the others."""
        return await _all_of({one: partial(self.at(one).enqueue, level, some) for one, some in tasks.items()})

    async def enqueue_linked(
        self, level: Durability, tasks: Mapping[int, Sequence[Linked]]
    ) -> tuple[dict[int, Sequence[Stored]], dict[int, SecureQueueError]]:
        """The same for tasks of a workflow; those with parents are not looked at before all of this call is over."""
        look_ms = round((LOOK_AFTER_S + 2 * self._policy.deadline_s) * 1000)
        calls = {one: partial(self.at(one).enqueue_linked, level, look_ms, some) for one, some in tasks.items()}
        return await _all_of(calls)

    async def enqueue_keyed(
        self, level: Durability, tasks: Mapping[int, Sequence[Keyed]]
    ) -> tuple[dict[int, Sequence[Kept]], dict[int, SecureQueueError]]:
        """The same for tasks that have keys, each in the partition of its key."""
        return await _all_of({one: partial(self.at(one).enqueue_keyed, level, some) for one, some in tasks.items()})

    async def of_key(self, checksums: Collection[int]) -> int:
        """The partition of a call's keys; raises ``ConfigurationError`` if they do not have one together."""
        return partition_of_keys(checksums, (await self._register_once()).key_partitions)

    async def follow(
        self, level: Durability, parents: Mapping[int, Sequence[tuple[bytes, bytes]]]
    ) -> tuple[dict[int, Sequence[Followed]], dict[int, SecureQueueError]]:
        """Note who depends on tasks that are enqueued already, all partitions at once."""
        return await _all_of({one: partial(self.at(one).follow, level, some) for one, some in parents.items()})

    async def describe(self, descriptions: Mapping[int, Sequence[Description]]) -> dict[int, SecureQueueError]:
        """Keep the sealed descriptions of workflows, all partitions at once; what one does not confirm is told."""
        deadline_s = self._policy.deadline_s
        calls = {
            one: partial(self.at(one).storage.keep_workflows, some, deadline_s) for one, some in descriptions.items()
        }
        return (await _all_of(calls))[1]

    @property
    def timetable(self) -> TimetableStorage:
        """Where the schedules of the queue are kept, all of them in partition 0."""
        return self._storages.at(0)

    async def schedule(self, schedule_id: bytes, sealed: bytes, level: Durability) -> Durability | None:
        """Store or replace a schedule, and wait for the copies of *level*; None if there are too many."""
        return await self.timetable.schedule(
            schedule_id, sealed, self._policy.deadline_s, self._policy.assurance(level)
        )

    async def register(self) -> Register:
        """What is known of the whole queue now, and note that this client uses its partitions."""
        fixed = None if self._known is None else self._known.key_partitions
        self._known = await self._asked(self._partitions, fixed)
        return self._known

    async def _register_once(self) -> Register:
        if self._known is None:
            async with self._asking:
                return self._known or await self.register()
        return self._known

    def is_in_trouble(self, partition: int) -> bool:
        """Whether new ids should better go elsewhere; True says that the trouble is being looked after."""
        return self.at(partition).is_in_trouble()

    async def everywhere(self, question: Callable[[Storage], Awaitable[T]], partitions: range | None = None) -> list[T]:
        """The answers of all partitions, in their order; raises ``PartitionUnavailable`` for the first that gives none."""
        everybody = partitions or await self.in_use()
        calls = {partition: partial(question, self._storages.at(partition)) for partition in everybody}
        answers, problems = await _all_of(calls)
        for partition, problem in sorted(problems.items()):
            raise _naming(partition, problem) if len(everybody) > 1 else problem
        return [answers[partition] for partition in everybody]

    async def in_use(self) -> range:
        """The numbers of all partitions that anybody uses; nothing is written."""
        return range(max(self._partitions, (await self.known()).partitions))

    async def known(self) -> Register:
        """What is known of the whole queue; nothing is written."""
        return await self._asked(0, None)

    async def shrink(self, holds: Callable[[Counts], bool]) -> int:
        """Give up partitions that nobody needs, as far as they are the last ones; say how many are in use then."""
        known = await self._asked(0, None)
        holding = [holds(one) for one in await self.everywhere(_counted, range(known.partitions))]
        fewer = still_needed(holding, max(self._partitions, known.key_partitions))
        if fewer < known.partitions:
            await self._storages.at(0).shrink(known.partitions, fewer)
        return (await self._asked(0, None)).partitions

    async def counts(self) -> list[Counts]:
        """How many tasks of each partition stand in each state."""
        return await self.everywhere(_counted)

    async def _asked(self, partitions: int, key_partitions: int | None) -> Register:
        try:
            return await self._storages.at(0).register(partitions, key_partitions)
        except Unavailable as error:
            raise _naming(0, error) if self._partitions > 1 else error from error

    def close(self) -> None:
        """End all waiting for results."""
        for route in self._routes.values():
            route.inbox.close()


async def _counted(storage: Storage) -> Counts:
    return await storage.counts()


def _naming(partition: int, error: SecureQueueError) -> SecureQueueError:
    """The same error, which says now that it is one partition of several that does not answer."""
    return PartitionUnavailable(partition, error) if isinstance(error, Unavailable) else error


async def _all_of(calls: Mapping[int, Callable[[], Awaitable[T]]]) -> tuple[dict[int, T], dict[int, SecureQueueError]]:
    """Make all *calls* at once; an answer or an error for each."""
    answers: dict[int, T] = {}
    problems: dict[int, SecureQueueError] = {}

    async def make(number: int, call: Callable[[], Awaitable[T]]) -> None:
        try:
            answers[number] = await call()
        except SecureQueueError as error:
            problems[number] = error

    if len(calls) == 1:
        await make(*next(iter(calls.items())))
        return answers, problems
    async with anyio.create_task_group() as group:
        for number, call in calls.items():
            group.start_soon(make, number, call)
    return answers, problems


@asynccontextmanager
async def open_routes(routes: Routes) -> AsyncIterator[Routes]:
    """Run the background work of *routes* as long as the context is open."""
    async with beside(routes.run):
        try:
            yield routes
        finally:
            routes.close()
