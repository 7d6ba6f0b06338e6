"""Workflows as a whole: how far their tasks are, and how to stop all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import anyio

from secure_queue import names
from secure_queue.client import Client
from secure_queue.clock import now_ms
from secure_queue.errors import TaskNotFound
from secure_queue.frames import opened_without_frames
from secure_queue.names import printable
from secure_queue.payload.codec import Purpose
from secure_queue.payload.records import TaskHead
from secure_queue.settings import patience
from secure_queue.storage import Record
from secure_queue.tasks import TaskStatus
from secure_queue.workflow_records import Node, open_workflow

MOST_CALLS: Final = 32


@dataclass(frozen=True, slots=True)
class WorkflowTask:
    """One task of a workflow; ``after`` are the ids of its parents with the end of each that lets it run.

    A task that ended so long ago that nothing is stored of it any more is ``NOT_FOUND``.
    """

    task_id: str
    fn_name: str
    status: TaskStatus
    after: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Workflow:
    """What was enqueued together, parents before those who depend on them."""

    workflow_id: str
    tasks: tuple[WorkflowTask, ...]


class Workflows:
    """The workflows of the queue that *client* is open for."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @opened_without_frames
    async def show(self, task_id: str) -> Workflow:
        """A workflow with the states of its tasks."""
        workflow_id, nodes = await self._find(task_id)
        states: dict[str, TaskStatus] = {}

        async def look(node: Node) -> None:
            states[node.task_id] = await self._client.status(node.task_id)

        await self._for_each(nodes, look)
        return Workflow(
            workflow_id,
            tuple(
                WorkflowTask(
                    node.task_id,
                    node.function,
                    states[node.task_id],
                    tuple((edge.task_id, edge.on.value) for edge in node.edges),
                )
                for node in nodes
            ),
        )

    @opened_without_frames
    async def abort(self, task_id: str, timeout: float | timedelta) -> list[str]:
        """Abort every task of a workflow that has not ended; the ids of those that stopped."""
        timeout_s = patience(timeout)
        _, nodes = await self._find(task_id)
        stopped: set[str] = set()

        async def stop(node: Node) -> None:
            if await self._client.abort(node.task_id, timeout_s):
                stopped.add(node.task_id)

        await self._for_each(list(reversed(nodes)), stop)
        return [node.task_id for node in nodes if node.task_id in stopped]

    async def _for_each(self, nodes: Sequence[Node], call: Callable[[Node], Awaitable[None]]) -> None:
        """Call for all of them, some at a time; the first error is raised as it is."""
        problems: list[Exception] = []
        limit = anyio.CapacityLimiter(MOST_CALLS)

        async def one(node: Node) -> None:
            async with limit:
                try:
                    await call(node)
                except Exception as error:
                    problems.append(error)

        async with anyio.create_task_group() as group:
            for node in nodes:
                group.start_soon(one, node)
        for problem in problems:
            raise problem

    async def _find(self, task_id: str) -> tuple[str, list[Node]]:
        found = await self._described(names.task_id(task_id))
        if found is not None:
            return task_id, found
        workflow_id = self._named_by(task_id, await self._client.look_up(task_id))
        found = None if workflow_id is None else await self._described(workflow_id)
        if workflow_id is None or found is None:
            raise TaskNotFound(
                f"no workflow {printable(task_id)}; name the id of its last task, or of one that has not ended"
            )
        return workflow_id, found

    def _named_by(self, task_id: str, record: Record) -> str | None:
        """The workflow that a stored task says it belongs to."""
        if not isinstance(record.untrusted_task, bytes):
            return None
        task = self._client.codec.verify_late(record.untrusted_task, Purpose.TASK, task_id, now_ms=now_ms())
        lineage = TaskHead.unpack(task.head).lineage
        return None if lineage is None else lineage.workflow_id

    async def _described(self, workflow_id: str) -> list[Node] | None:
        untrusted = await (await self._client.storage_of(workflow_id)).workflow(workflow_id.encode())
        return None if untrusted is None else open_workflow(self._client.codec, workflow_id, untrusted)
