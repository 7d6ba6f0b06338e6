"""Every schedule of a queue: what it runs, when it ran last, when it fires next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from secure_queue import names
from secure_queue.client import Client
from secure_queue.declare_schedules import Declared
from secure_queue.errors import Rejected
from secure_queue.listing import BrokenTask
from secure_queue.plans import read_mark
from secure_queue.schedule_records import Repeated


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """One schedule; ``in_code`` ones are declared by this worker, the others are stored in the queue."""

    schedule_id: str
    fn_name: str
    rule: str
    misfire: str
    next: datetime | None
    last: datetime | None
    last_task_id: str | None
    in_code: bool


async def list_schedules(client: Client, declared: Mapping[str, Declared]) -> list[ScheduleInfo | BrokenTask]:
    """All of them, those in code first, each kind by id."""
    found = await client.routes.timetable.timetable(b"?", [])
    stored, broken = _open(client, found.untrusted_schedules or {})
    listed = [*(one.repeated for _, one in sorted(declared.items())), *stored]
    table = await client.routes.timetable.timetable(b"", [one.schedule_id.encode() for one in listed])
    rows = zip(listed, table.untrusted_marks, strict=True)
    return [*(_info(one, untrusted_mark, table.now_ms) for one, untrusted_mark in rows), *broken]


def _open(client: Client, untrusted: Mapping[bytes, bytes]) -> tuple[list[Repeated], list[BrokenTask]]:
    stored: list[Repeated] = []
    broken: list[BrokenTask] = []
    for untrusted_id, record in sorted(untrusted.items()):
        try:
            stored.append(client.open_schedule(untrusted_id, record))
        except Rejected as error:
            broken.append(BrokenTask(names.printable(untrusted_id), error.reason))
    return stored, broken


def _info(one: Repeated, untrusted_mark: bytes, now_ms: int) -> ScheduleInfo:
    mark = read_mark(untrusted_mark, now_ms)
    fired = mark is not None and mark.fired_ms > 0
    return ScheduleInfo(
        one.schedule_id,
        one.function,
        str(one.plan.rule),
        str(one.plan.misfire),
        _moment(one.plan.rule.next_after(now_ms)),
        _moment(mark.fired_ms) if mark is not None and fired else None,
        mark.task_id if mark is not None and fired else None,
        not one.sealed,
    )


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
