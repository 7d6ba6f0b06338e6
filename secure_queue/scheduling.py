"""The schedules of a queue: store and remove them, and see what each runs, when it ran last, when it fires next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from secure_queue import names
from secure_queue.client import Client
from secure_queue.clock import now_ms
from secure_queue.declare_schedules import Declared
from secure_queue.errors import ConfigurationError, Rejected
from secure_queue.listing import BrokenTask
from secure_queue.plans import Mark, Plan, read_mark
from secure_queue.schedule_records import Repeated, open_schedule, seal_schedule
from secure_queue.tasks import Task


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """One schedule; ``in_code`` ones are declared by this worker, the others are stored in the queue.

    ``Scheduling.one`` tells of what is declared elsewhere too, without its function and its rule.
    """

    schedule_id: str
    fn_name: str
    rule: str
    misfire: str
    next: datetime | None
    last: datetime | None
    last_task_id: str | None
    in_code: bool


class Scheduling:
    """The schedules of the queue that *client* is open for."""

    def __init__(self, client: Client) -> None:
        self._routes = client.routes
        self._codec = client.codec

    async def store(self, task: Task[Any], plan: Plan) -> None:
        """Store or replace the schedule of a call; raises ``ConfigurationError`` if there are too many of them."""
        names.task_id(task.id)
        sealed = await seal_schedule(self._codec, task, plan, task.settings)
        task.durability = await self._routes.schedule(task.id.encode(), sealed, self._routes.level(task.wanted))
        if task.durability is None:
            raise ConfigurationError(
                "this queue has as many schedules as it may have; remove some with unschedule_by_id"
            )

    async def remove(self, schedule_id: str) -> bool:
        """Remove a stored schedule; False if there is none."""
        return await self._routes.timetable.unschedule(names.task_id(schedule_id).encode())

    async def is_known(self, schedule_id: str) -> bool:
        """Whether there is a schedule of that id."""
        return (await self._routes.timetable.timetable(b"", [schedule_id.encode()])).untrusted_marks != [b""]

    async def all(self, declared: Mapping[str, Declared]) -> list[ScheduleInfo | BrokenTask]:
        """All of them, those in code first, each kind by id."""
        found = await self._routes.timetable.timetable(b"?", [])
        stored, broken = self._open(found.untrusted_schedules or {})
        listed = [*(one.repeated for _, one in sorted(declared.items())), *stored]
        table = await self._routes.timetable.timetable(b"", [one.schedule_id.encode() for one in listed])
        rows = zip(listed, table.untrusted_marks, strict=True)
        return [*(_info(one, untrusted_mark, table.now_ms) for one, untrusted_mark in rows), *broken]

    async def one(self, schedule_id: str, declared: Mapping[str, Declared]) -> ScheduleInfo | BrokenTask | None:
        """One schedule, for who may only read what is stored; None if there is none of that id."""
        stored, untrusted_mark = await self._routes.at(0).storage.evidence().schedule_of(schedule_id.encode())
        if schedule_id in declared:
            return _info(declared[schedule_id].repeated, untrusted_mark, now_ms())
        if stored is None:
            return _declared_elsewhere(schedule_id, untrusted_mark) if untrusted_mark else None
        if not isinstance(stored, bytes):
            return BrokenTask(schedule_id, "too-large")
        opened, broken = self._open({schedule_id.encode(): stored})
        return _info(opened[0], untrusted_mark, now_ms()) if opened else broken[0]

    def _open(self, untrusted: Mapping[bytes, bytes]) -> tuple[list[Repeated], list[BrokenTask]]:
        stored: list[Repeated] = []
        broken: list[BrokenTask] = []
        for untrusted_id, record in sorted(untrusted.items()):
            try:
                stored.append(open_schedule(self._codec, untrusted_id, record)[0])
            except Rejected as error:
                broken.append(BrokenTask(names.printable(untrusted_id), error.reason))
        return stored, broken


def _declared_elsewhere(schedule_id: str, untrusted_mark: bytes) -> ScheduleInfo:
    return ScheduleInfo(schedule_id, "", "", "", None, *_last(read_mark(untrusted_mark, now_ms())), True)


def _last(mark: Mark | None) -> tuple[datetime | None, str | None]:
    """When it fired last, and for which task."""
    return (None, None) if mark is None or mark.fired_ms <= 0 else (_moment(mark.fired_ms), mark.task_id)


def _info(one: Repeated, untrusted_mark: bytes, now_ms: int) -> ScheduleInfo:
    return ScheduleInfo(
        one.schedule_id,
        one.function,
        str(one.plan.rule),
        str(one.plan.misfire),
        _moment(one.plan.rule.next_after(now_ms)),
        *_last(read_mark(untrusted_mark, now_ms)),
        not one.sealed,
    )


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
