"""Enqueues tasks that depend on each other.

Those that wait are stored first, then those that can run. So an end always finds who waits for it; and should the producer
die in between, what waits for a task that never came fails after a while and says so.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from secure_queue import names
from secure_queue.client import Client
from secure_queue.clock import now_ms
from secure_queue.durability import Durability
from secure_queue.edges import MOST_PARENTS, Edge, Lineage, On, spelled
from secure_queue.errors import LONGEST_S, ConfigurationError, KeyRingError, TaskNotFound
from secure_queue.handover import FAILED, SUCCEEDED, Description, Followed, Linked
from secure_queue.payload.codec import Purpose
from secure_queue.payload.records import ResultHead
from secure_queue.settings import lifetime_of
from secure_queue.storage import NewTask, Stored
from secure_queue.tasks import Link, Task
from secure_queue.workflow_records import Node, seal_workflow

MOST_TASKS: Final = 5_000
"""So many tasks can be described in one value."""
KEEP_LONGER_S: Final = 86_400

_log = logging.getLogger("secure_queue.client")


def family(tasks: Sequence[Task[Any]]) -> list[Task[Any]]:
    """*tasks* and all handles that they depend on and that are not enqueued yet, parents first.

    Raises ``ConfigurationError`` if a task depends on itself.
    """
    found: dict[Task[Any], None] = {}
    open_: set[Task[Any]] = set()
    stack = [(task, False) for task in reversed(tasks)]
    while stack:
        task, left = stack.pop()
        if left:
            open_.discard(task)
            found[task] = None
        elif task in open_:
            raise ConfigurationError("a task depends on itself, by way of others perhaps; take one edge out")
        elif task not in found:
            open_.add(task)
            stack.append((task, True))
            stack += [(parent, False) for parent in reversed(_new_parents(task)) if parent not in found]
    return list(found)


def _new_parents(task: Task[Any]) -> list[Task[Any]]:
    return [link.parent for link in task.links if isinstance(link.parent, Task) and link.parent.existed is None]


def components(tasks: Sequence[Task[Any]]) -> list[list[Task[Any]]]:
    """*tasks* by workflow: those that hang together, each in the order that they had."""
    together: dict[Task[Any], list[Task[Any]]] = {task: [task] for task in tasks}
    for task in tasks:
        for link in task.links:
            if isinstance(link.parent, Task) and link.parent in together:
                mine, others = together[task], together[link.parent]
                if mine is not others:
                    small, large = sorted((mine, others), key=len)
                    large += small
                    for one in small:
                        together[one] = large
    order = {task: place for place, task in enumerate(tasks)}
    return [
        sorted(group, key=order.__getitem__) for group in {id(group): group for group in together.values()}.values()
    ]


class Linking:
    """Enqueues workflows into the queue that *client* is open for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._routes = client.routes

    async def enqueue(self, tasks: Sequence[Task[Any]]) -> None:
        """Enqueue *tasks*, parents first in their order, with everything that they depend on.

        Should it fail, none of them counts as enqueued, and doing it again with the same handles is safe.
        """
        groups = components(tasks)
        alone = [group[0] for group in groups if len(group) == 1 and not group[0].links]
        workflows: dict[Durability, list[Sequence[Task[Any]]]] = defaultdict(list)
        for group in groups:
            if len(group) > 1 or group[0].links:
                workflows[self._level(group)].append(group)
        try:
            for level, some in workflows.items():
                await self._enqueue(some, level)
            if alone:
                await self._client.enqueue_many(alone)
        except BaseException:
            for task in tasks:
                task.existed = None
            raise

    def _level(self, tasks: Sequence[Task[Any]]) -> Durability:
        """What a workflow waits for: what the first of its tasks says that says anything."""
        if len(tasks) > MOST_TASKS:
            raise ConfigurationError(f"a workflow has at most {MOST_TASKS:,} tasks; cut it into several")
        return self._routes.level(next((task.wanted for task in tasks if task.wanted), None))

    async def _enqueue(self, workflows: Sequence[Sequence[Task[Any]]], level: Durability) -> None:
        """Enqueue workflows, all in the same calls; the id of each is that of its last task."""
        tasks = [task for workflow in workflows for task in workflow]
        partitions = {task: await self._routes.for_new(task.id) for task in tasks}
        children = _children(tasks, partitions)
        for workflow in workflows:
            for task in workflow:
                task.lineage = Lineage(workflow[-1].id, await self._edges(task, partitions))
        held_up = _held_up_s(tasks)
        sealed = {
            task: _linked(
                task,
                await self._client.sealing.seal(task, longer_s=_longer_s(task, held_up[task])),
                children.get(task, ()),
                _keep_s(task, held_up[task]),
            )
            for task in tasks
        }
        await self._describe(workflows, partitions, held_up)
        await self._store([task for task in tasks if sealed[task].parents], partitions, sealed, level)
        await self._store([task for task in tasks if not sealed[task].parents], partitions, sealed, level)
        await self._follow(tasks, partitions, level)

    async def _edges(self, task: Task[Any], partitions: Mapping[Task[Any], int]) -> tuple[Edge, ...]:
        if len(task.links) > MOST_PARENTS:
            raise ConfigurationError(f"a task has at most {MOST_PARENTS:,} parents; gather them in groups of groups")
        found = [await self._edge(link, partitions) for link in task.links]
        return tuple(edge for edge in found if edge is not None)

    async def _edge(self, link: Link, partitions: Mapping[Task[Any], int]) -> Edge | None:
        parent, policy = link.parent, (link.on, link.runs_if_gone, link.passes)
        if isinstance(parent, Task):
            if parent in partitions:
                return Edge(partitions[parent], parent.id, parent.jti, *policy)
            if not parent.existed:
                return Edge(await self._routes.for_new(parent.id), parent.id, parent.jti, *policy)
            parent = parent.id
        jti = await self._jti_of(names.task_id(parent))
        if jti is not None:
            return Edge(await self._routes.for_new(parent), parent, jti, *policy)
        if link.runs_if_gone:
            return None
        raise TaskNotFound(f"no task {parent} is stored that could be waited for; say gone='run' if it may be gone")

    async def _jti_of(self, task_id: str) -> bytes | None:
        """Which enqueue of an id is stored; raises ``Rejected`` if what is stored is not genuine."""
        untrusted_task, untrusted_result = await (await self._client.storage_of(task_id)).whose(task_id.encode())
        codec, now = self._client.codec, now_ms()
        if isinstance(untrusted_task, bytes):
            return codec.verify_late(untrusted_task, Purpose.TASK, task_id, now_ms=now).jti
        if isinstance(untrusted_result, bytes):
            answer = codec.verify(untrusted_result, Purpose.RESULT, task_id, now_ms=now)
            return answer.ref if ResultHead.unpack(answer.head).kept else None
        return None

    async def _store(
        self,
        tasks: Sequence[Task[Any]],
        partitions: Mapping[Task[Any], int],
        sealed: Mapping[Task[Any], Linked],
        level: Durability,
    ) -> None:
        groups = _grouped(tasks, partitions)
        answers, problems = await self._routes.enqueue_linked(
            level, {one: [sealed[task] for task in some] for one, some in groups.items()}
        )
        for partition, stored in answers.items():
            _note(groups[partition], stored)
        for problem in problems.values():
            raise problem

    async def _follow(self, tasks: Sequence[Task[Any]], partitions: Mapping[Task[Any], int], level: Durability) -> None:
        """Have the parents that were enqueued before know who depends on them, and whoever has taken the id of one."""
        outside: dict[int, dict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
        inside = {task.id for task in tasks if not task.existed}
        for task in tasks:
            for edge in task.lineage.edges if task.lineage else ():
                if edge.task_id not in inside:
                    outside[edge.partition][edge.task_id].append((partitions[task], task.id))
        answers, problems = await self._routes.follow(
            level,
            {one: [(parent.encode(), spelled(some)) for parent, some in each.items()] for one, each in outside.items()},
        )
        for problem in problems.values():
            raise problem
        if any(Followed.FULL in found for found in answers.values()):
            raise ConfigurationError("a parent has too many dependents already; let one task in between stand for some")

    async def _describe(
        self,
        workflows: Sequence[Sequence[Task[Any]]],
        partitions: Mapping[Task[Any], int],
        held_up: Mapping[Task[Any], int],
    ) -> None:
        """Keep what workflows are made of, so that each can be looked at and stopped as a whole."""
        found: dict[int, list[Description]] = defaultdict(list)
        try:
            for tasks in workflows:
                last, lifetime_s = tasks[-1], max(_keep_s(task, held_up[task]) for task in tasks)
                nodes = [Node(task.id, task.jti, task.fn_name, _lineage(task).edges) for task in tasks]
                sealed = seal_workflow(self._client.codec, last.id, nodes, lifetime_s)
                found[partitions[last]].append(Description(last.id.encode(), sealed, lifetime_s * 1000))
        except KeyRingError as error:  # a key for tasks alone; what it enqueues runs all the same
            _log.info("workflows cannot be looked at as a whole: %s", error)
            return
        for problem in (await self._routes.describe(found)).values():
            raise problem


def _children(
    tasks: Sequence[Task[Any]], partitions: Mapping[Task[Any], int]
) -> dict[Task[Any], list[tuple[int, str]]]:
    """Who depends on each of *tasks*, as far as they are enqueued together."""
    found: dict[Task[Any], list[tuple[int, str]]] = defaultdict(list)
    for task in tasks:
        for link in task.links:
            if isinstance(link.parent, Task) and link.parent in partitions:
                found[link.parent].append((partitions[task], task.id))
    return found


def _linked(task: Task[Any], new: NewTask, children: Iterable[tuple[int, str]], keep_s: int) -> Linked:
    edges = _lineage(task).edges
    parents, ons = len({edge.task_id for edge in edges}), {edge.on for edge in edges}
    decided_by = FAILED * (On.SUCCESS in ons) + SUCCEEDED * (On.FAILURE in ons)
    return Linked(*new, parents, spelled(dict.fromkeys(children)), keep_s * 1000, decided_by)


def _lineage(task: Task[Any]) -> Lineage:
    if task.lineage is None:
        raise RuntimeError("the task has no place in a workflow yet")
    return task.lineage


def _held_up_s(tasks: Sequence[Task[Any]]) -> dict[Task[Any], int]:
    """For how many seconds each of *tasks*, parents first, cannot start: by its own delay, or by one of those before it."""
    found: dict[Task[Any], int] = {}
    for task in tasks:
        parents = [link.parent for link in task.links if isinstance(link.parent, Task)]
        found[task] = max(_delay_s(task), *(found.get(parent, _delay_s(parent)) for parent in parents), 0)
    return found


def _delay_s(task: Task[Any]) -> int:
    return max(task.delay_ms, task.at_ms - now_ms(), 0) // 1000


def _longer_s(task: Task[Any], held_up_s: int) -> int:
    """By how many seconds those before a task prolong its lifetime."""
    return min(held_up_s - _delay_s(task), int(LONGEST_S) - lifetime_of(task.settings))


def _keep_s(task: Task[Any], held_up_s: int) -> int:
    """For how many seconds what belongs to a task may be needed: until it has expired, and a day more."""
    return lifetime_of(task.settings) + held_up_s + KEEP_LONGER_S


def _grouped(tasks: Sequence[Task[Any]], partitions: Mapping[Task[Any], int]) -> dict[int, list[Task[Any]]]:
    groups: dict[int, list[Task[Any]]] = defaultdict(list)
    for task in tasks:
        groups[partitions[task]].append(task)
    return groups


def _note(tasks: Sequence[Task[Any]], answers: Sequence[Stored]) -> None:
    for task, (new, durability) in zip(tasks, answers, strict=True):
        task.existed, task.durability = not new, durability
