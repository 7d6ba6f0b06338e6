"""Pages of tasks by state. A payload that does not open becomes a row that says so, never an error of the whole list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secure_queue import names
from secure_queue.client import Client
from secure_queue.errors import Rejected, ResultUnavailable
from secure_queue.settings import page
from secure_queue.storage import Standing, Storage
from secure_queue.tasks import TaskInfo, TaskResult, TaskStatus

_STANDING = {
    TaskStatus.QUEUED: Standing.QUEUED,
    TaskStatus.SCHEDULED: Standing.SCHEDULED,
    TaskStatus.RUNNING: Standing.RUNNING,
    TaskStatus.DONE: Standing.DONE,
    TaskStatus.ABORTED: Standing.DONE,
    TaskStatus.FAILED: Standing.DEAD,
}


@dataclass(frozen=True, slots=True)
class BrokenTask:
    """A stored task that does not open, and why; the id is escaped for display."""

    task_id: str
    reason: str


async def list_tasks(
    client: Client, status: TaskStatus, *, limit: int, offset: int, priority: str | None
) -> list[TaskInfo | TaskResult[Any] | BrokenTask]:
    """One page of the tasks whose status is *status*; entries that moved on meanwhile are left out."""
    page(limit, offset)
    standing = _STANDING.get(status)
    if standing is None:
        return []
    found = await client.ids(standing, priority, offset, limit)
    rows = [await _row(client, storage, untrusted_id, standing) for storage, untrusted_id in found]
    if standing is Standing.DONE:
        return [row for row in rows if isinstance(row, BrokenTask) or (row is not None and row.status is status)]
    return [row for row in rows if row is not None]


async def _row(
    client: Client, storage: Storage, untrusted_id: bytes, standing: Standing
) -> TaskInfo | TaskResult[Any] | BrokenTask | None:
    task_id = names.stored_task_id(untrusted_id)
    if task_id is None:
        return BrokenTask(names.printable(untrusted_id), "bad-id")
    record = await storage.look_up(untrusted_id)
    if record.standing is not standing:
        return None
    try:
        if standing in (Standing.DONE, Standing.DEAD):
            stored = record.untrusted_death if standing is Standing.DEAD else record.untrusted_result
            return await client.read(task_id, stored)
        return await client.describe(task_id, record)
    except ResultUnavailable:
        return None
    except Rejected as error:
        return BrokenTask(task_id, error.reason)
