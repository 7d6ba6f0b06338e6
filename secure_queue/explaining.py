"""Gathers what is known of one task, so that ``reasons.py`` can say why it does not run. Reads only, and opens no value."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from secure_queue import names
from secure_queue.client import Client
from secure_queue.clock import now_ms
from secure_queue.dead_letters import DeadLetters
from secure_queue.declare_schedules import Declared
from secure_queue.errors import Rejected, TaskNotFound
from secure_queue.evidence import Queueing, Whereabouts
from secure_queue.frames import opened_without_frames
from secure_queue.listing import BrokenTask
from secure_queue.names import printable
from secure_queue.notes import SHELVED, read_note
from secure_queue.partitions import partition_of
from secure_queue.pausing import told
from secure_queue.payload.codec import Purpose, Sealed
from secure_queue.payload.records import Outcome, ResultHead, TaskHead
from secure_queue.presence import WORKER, Process, living
from secure_queue.reasons import Explanation, Facts, LimitFacts, LineFacts, ProcessFacts, ScheduleFacts, explain
from secure_queue.routing import Route
from secure_queue.scheduling import ScheduleInfo, Scheduling
from secure_queue.storage import Record, Standing
from secure_queue.tasks import TaskStatus

MOST_PARENTS: Final = 20
"""So many parents are looked at."""
_RUN: Final = re.compile(r"(\d{1,4})!{0,2}:([^:]*):(.*)")

WhyPutAside = Callable[[str], Awaitable[str]]


class Explaining:
    """The tasks and schedules of the queue that *client* is open for; some of the latter are *declared* in code.

    *why_put_aside* says why a task was put aside, or nothing.
    """

    def __init__(
        self,
        client: Client,
        priorities: Sequence[str],
        why_put_aside: WhyPutAside,
        declared: Mapping[str, Declared],
    ) -> None:
        self._client = client
        self._priorities = priorities
        self._why_put_aside = why_put_aside
        self._declared = declared

    @opened_without_frames
    async def of(self, task_id: str) -> Explanation:
        """Why a task does not run, or what has become of it."""
        route = self._client.routes.at(await self._partition_of(names.task_id(task_id)))
        record = await route.storage.look_up(task_id.encode())
        return explain(task_id, await self._facts(task_id, route, record))

    async def _facts(self, task_id: str, route: Route, record: Record) -> Facts:
        if record.standing is Standing.NOT_FOUND:
            return await self._not_found(task_id, route)
        if record.standing is Standing.DONE:
            return self._ended(task_id, record)
        if record.standing is Standing.DEAD:
            return await self._dead(task_id)
        status = TaskStatus(record.standing.value)
        try:
            task = self._verified(record.untrusted_task, Purpose.TASK, task_id)
            head = TaskHead.unpack(task.head)
        except Rejected as error:
            return Facts(status, problem=error.reason)
        return await self._waiting(status, route, task, head, record)

    async def _not_found(self, task_id: str, route: Route) -> Facts:
        if other := await self._replaced_by(route, task_id, waits=False):
            return Facts(TaskStatus.NOT_FOUND, replaced_by=other)
        match await Scheduling(self._client).one(task_id, self._declared):
            case BrokenTask(_, reason):
                return Facts(TaskStatus.SCHEDULED, problem=reason)
            case ScheduleInfo() as found:
                return await self._schedule(found)
        return Facts(TaskStatus.NOT_FOUND, problem=await self._why_put_aside(task_id))

    async def _schedule(self, found: ScheduleInfo) -> Facts:
        place = await self._client.evidence().whereabouts(found.schedule_id.encode())
        living = await self._living() if found.fn_name else []  # who knows a function that nobody here can name?
        return Facts(
            TaskStatus.SCHEDULED,
            fn_name=found.fn_name,
            schedule=ScheduleFacts(found.rule, found.next, found.last, found.last_task_id, found.in_code),
            workers=place.workers,
            processes=[ProcessFacts(_tasks_of(one), has_key=True) for one in living],
        )

    def _verified(self, untrusted: bytes | int | None, purpose: Purpose, task_id: str) -> Sealed:
        if not isinstance(untrusted, bytes):
            raise Rejected("too-large")
        return self._client.codec.verify_late(untrusted, purpose, task_id, now_ms=now_ms())

    def _ended(self, task_id: str, record: Record) -> Facts:
        if record.untrusted_result == b"":
            return Facts(TaskStatus.DONE, ending="done; its result was not kept")
        try:
            end = self._verified(record.untrusted_result, Purpose.RESULT, task_id)
            outcome = ResultHead.unpack(end.head).outcome
        except Rejected as error:
            return Facts(TaskStatus.DONE, ending=f"but what is kept as its result does not open ({error.reason})")
        status = TaskStatus.ABORTED if outcome is Outcome.ABORTED else TaskStatus.DONE
        return Facts(status, fn_name=end.function, ending=outcome.name.lower())

    async def _dead(self, task_id: str) -> Facts:
        try:
            letter = await DeadLetters(self._client).show(task_id)
        except Rejected as error:
            return Facts(TaskStatus.FAILED, ending=f"its failure does not open ({error.reason})")
        except TaskNotFound:
            return Facts(TaskStatus.FAILED, ending="it was retried or deleted just now")
        ending = printable(f"{letter.error}: {letter.message}", 400)
        return Facts(TaskStatus.FAILED, fn_name=letter.fn_name, ending=ending, tries=letter.tries)

    async def _waiting(self, status: TaskStatus, route: Route, task: Sealed, head: TaskHead, record: Record) -> Facts:
        evidence = route.storage.evidence()
        place = await evidence.whereabouts(task.task_id.encode())
        now = now_ms()
        facts = Facts(
            status,
            fn_name=task.function,
            tries=record.tries,
            worker=_worker_of(place.untrusted_run),
            lease_left_s=place.lease_left_ms / 1000,
            due_left_s=place.due_left_ms / 1000,
            replaced_by=await self._replaced_by(route, task.task_id, waits=True),
            wanted_left_s=(task.not_before_ms - now) / 1000,
            expires_left_s=None if task.expires_ms is None else (task.expires_ms - now) / 1000,
            parents=await self._parents(head),
            pauses=told(await route.storage.untrusted_pauses()),
            limit=await self._limit(task.task_id, place),
            is_shelved=(place.untrusted_note or b"").startswith(SHELVED),
            line=None if place.line is None else LineFacts(*place.line[:2], printable(place.line.untrusted_first)),
            workers=place.workers,
            processes=await self._processes(task),
        )
        return self._placed(facts, place, head)

    async def _replaced_by(self, route: Route, task_id: str, *, waits: bool) -> str:
        other = await route.storage.evidence().replaced_by(task_id.encode(), waits=waits)
        return "" if other is None else printable(other)

    def _placed(self, facts: Facts, place: Whereabouts, head: TaskHead) -> Facts:
        rank = place.priority
        if rank is None or rank >= len(self._priorities):
            return replace(facts, priority=head.priority or self._priorities[-1])
        higher = dict(zip(self._priorities[:rank], place.ready[:rank], strict=True))
        return replace(facts, priority=self._priorities[rank], before=place.before, higher=higher)

    async def _parents(self, head: TaskHead) -> list[tuple[str, TaskStatus]]:
        edges = head.lineage.edges[:MOST_PARENTS] if head.lineage is not None else ()
        found: list[tuple[str, TaskStatus]] = []
        for edge in edges:
            record = await self._client.look_up(edge.task_id)
            dead = record.standing is Standing.DEAD
            found.append((edge.task_id, TaskStatus.FAILED if dead else TaskStatus(record.standing.value)))
        return found

    async def _limit(self, task_id: str, place: Whereabouts) -> LimitFacts | None:
        """The limit that a note names; anybody may have written it, so it is only a place to look."""
        wait = read_note(place.untrusted_note)
        if wait is None or not place.due_left_ms:
            return None
        who = b"%d %s" % (await self._partition_of(task_id), task_id.encode())
        queueing = await self._client.evidence(wait.home).queueing(wait.digest, who)
        return _limit_facts(wait.is_rate, printable(wait.rule, 200), queueing)

    async def _partition_of(self, task_id: str) -> int:
        return partition_of(task_id, (await self._client.routes.known()).key_partitions)

    async def _processes(self, task: Sealed) -> list[ProcessFacts]:
        return [_process_facts(one, task) for one in await self._living()]

    async def _living(self) -> list[Process]:
        found = await living(self._client.evidence(), self._client.codec)
        return [one for one in found if one.role == WORKER and not one.problem]


def _limit_facts(is_rate: bool, rule: str, at: Queueing) -> LimitFacts:
    busy = at.starts if is_rate else at.permits
    holders = tuple(printable(holder.split(b" ")[1]) for holder in at.untrusted_holders if holder.count(b" ") == 2)
    left_s, stalled_s = at.left_ms / 1000, at.stalled_ms / 1000
    return LimitFacts(is_rate, rule, at.before, at.waiting, busy, left_s, stalled_s, holders)


def _process_facts(process: Process, task: Sealed) -> ProcessFacts:
    may_verify = process.state_of(task.key_id.hex()) in ("active", "verify")
    return ProcessFacts(_tasks_of(process), may_verify)


def _tasks_of(process: Process) -> frozenset[str] | None:
    return None if process.tasks is None else frozenset(process.tasks)


def _worker_of(untrusted_run: bytes | None) -> str:
    """The name of the worker in a run record, whose token is `<worker>.<process>.<claim>`."""
    found: Any = _RUN.fullmatch((untrusted_run or b"").decode("utf-8", "replace"))
    return printable(found[3].rsplit(".", 2)[0]) if found is not None else ""
