"""Why a task does not run: the facts about it, and the rule that makes reasons of them. Pure.

Each way of waiting is one function in ``RULES``, which has the reasons in the order in which they are told; a further way
is one more function there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from secure_queue.pausing import Pause
from secure_queue.task_facts import TaskStatus


class Why(StrEnum):
    """What keeps a task from running, or that nothing does."""

    NOT_FOUND = "not_found"
    PUT_ASIDE = "put_aside"
    REPLACED = "replaced"
    SCHEDULE = "schedule"
    BROKEN = "broken"
    FINISHED = "finished"
    DEAD = "dead"
    RUNNING = "running"
    EXPIRED = "expired"
    PAUSED = "paused"
    PARENTS = "parents"
    LINE = "line"
    PERMIT = "permit"
    RATE = "rate"
    DELAYED = "delayed"
    NO_WORKER = "no_worker"
    NO_CODE = "no_code"
    NO_KEY = "no_key"
    BEHIND = "behind"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a word for programs, a sentence for people, and the facts behind it."""

    why: Why
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task does not run, or what has become of it; the reason that counts most stands first."""

    task_id: str
    fn_name: str | None
    status: TaskStatus
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "; ".join(reason.text for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """How it looks at the limit that a task waits for."""

    is_rate: bool
    rule: str
    before: int | None = None
    waiting: int = 0
    busy: int = 0
    left_s: float = 0.0
    stalled_s: float = 0.0
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineFacts:
    """How many of its key are before a task in their line, and the first of them."""

    in_order: bool
    before: int
    first: str


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """When a schedule fires, and when it did."""

    rule: str
    """Empty for one that is declared in the code of others."""
    next: datetime | None
    last: datetime | None = None
    last_task_id: str | None = None
    in_code: bool = False


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One worker: which tasks it knows (None: it does not say) and whether it can verify this one."""

    tasks: frozenset[str] | None
    has_key: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a task; times in seconds from now."""

    status: TaskStatus
    fn_name: str = ""
    problem: str = ""
    """Why what is stored does not open."""
    schedule: ScheduleFacts | None = None
    """If it is no task, but what runs one again and again."""
    replaced_by: str = ""
    """Which call has taken its place."""
    ending: str = ""
    tries: int = 0
    worker: str = ""
    lease_left_s: float = 0.0
    due_left_s: float = 0.0
    wanted_left_s: float = 0.0
    """Until the time that was asked for when it was enqueued."""
    expires_left_s: float | None = None
    parents: Sequence[tuple[str, TaskStatus]] = ()
    pauses: Sequence[Pause] = ()
    priority: str = ""
    limit: LimitFacts | None = None
    line: LineFacts | None = None
    is_shelved: bool = False
    """Whether it was laid aside for a pause."""
    before: int | None = None
    """How many stand before it in its own list; None: more than were looked at."""
    higher: Mapping[str, int] = field(default_factory=dict)
    """How many are ready in higher priorities."""
    workers: int = 0
    processes: Sequence[ProcessFacts] = ()


Rule = Callable[[Facts], Reason | None]


def explain(task_id: str, facts: Facts) -> Explanation:
    """Put the reasons together; there is always one."""
    ended = _of_no_waiting(facts)
    found = (ended,) if ended is not None else tuple(reason for rule in RULES if (reason := rule(facts)) is not None)
    return Explanation(task_id, facts.fn_name or None, facts.status, found or (_next(facts),))


def _of_no_waiting(facts: Facts) -> Reason | None:
    """What is to be said of a task that does not wait."""
    match facts.status:
        case TaskStatus.NOT_FOUND if facts.problem:
            return Reason(Why.PUT_ASIDE, f"it was put aside: {facts.problem}", {"reason": facts.problem})
        case TaskStatus.NOT_FOUND | TaskStatus.QUEUED | TaskStatus.SCHEDULED if facts.replaced_by:
            text = f"another call of its key has taken its place: {facts.replaced_by}"
            return Reason(Why.REPLACED, text, {"by": facts.replaced_by})
        case TaskStatus.NOT_FOUND:
            return Reason(Why.NOT_FOUND, "nothing is stored of it: it was never enqueued, or its result has expired")
        case TaskStatus.FAILED:
            return Reason(Why.DEAD, f"it is a dead letter: {facts.ending}", {"error": facts.ending})
        case TaskStatus.DONE | TaskStatus.ABORTED:
            return Reason(Why.FINISHED, f"it has finished: {facts.ending or facts.status.value}")
        case _ if facts.problem:
            return Reason(Why.BROKEN, f"what is stored of it does not open: {facts.problem}", {"reason": facts.problem})
        case TaskStatus.RUNNING:
            return _running(facts)
        case _:
            return None


def _running(facts: Facts) -> Reason:
    known = {"worker": facts.worker, "try": facts.tries, "lease_left_s": facts.lease_left_s}
    lease = (
        f"its lease holds for {facts.lease_left_s:.0f} s more"
        if facts.lease_left_s > 0
        else "its lease has run out, and it runs again as soon as a worker looks"
    )
    return Reason(Why.RUNNING, f"worker {facts.worker} has it (try {facts.tries}); {lease}", known)


def _expired(facts: Facts) -> Reason | None:
    if facts.expires_left_s is None or facts.expires_left_s > 0:
        return None
    text = f"it has expired {-facts.expires_left_s:.0f} s ago; the worker that comes to it makes it a dead letter"
    return Reason(Why.EXPIRED, text, {"expires_left_s": facts.expires_left_s})


def _paused(facts: Facts) -> Reason | None:
    for pause in facts.pauses:
        if pause.task == facts.fn_name or (pause.task is None and pause.priority in (None, facts.priority)):
            what = "its task" if pause.task else "its priority" if pause.priority else "the queue"
            end = "until it is resumed" if pause.left_s is None else f"for {pause.left_s:.0f} s more"
            return Reason(Why.PAUSED, f"{what} is paused {end}", {"left_s": pause.left_s})
    return None


def _schedule(facts: Facts) -> Reason | None:
    one = facts.schedule
    if one is None:
        return None
    upcoming, last = (moment and moment.isoformat() for moment in (one.next, one.last))
    fired = f"; it fired last at {last}, for task {one.last_task_id}" if last else ""
    known = {"rule": one.rule or None, "next": upcoming, "last": last, "last_task_id": one.last_task_id}
    return Reason(Why.SCHEDULE, f"{_told(one)}{fired}", {**known, "in_code": one.in_code})


def _told(one: ScheduleFacts) -> str:
    if not one.rule:
        return (
            "it is a schedule that other code declares or has declared; a worker object of that code says when it fires"
        )
    fires = f"fires next at {one.next.isoformat()}" if one.next else "never fires again"
    return f"it is a schedule, {one.rule}{', declared in code' if one.in_code else ''}, which {fires}"


def _parents(facts: Facts) -> Reason | None:
    """One that has been tried has had its parents already; their results may have expired since."""
    if facts.status is not TaskStatus.SCHEDULED:
        return None
    waits = {TaskStatus.SCHEDULED, TaskStatus.QUEUED, TaskStatus.RUNNING}
    awaited = {task_id: status.value for task_id, status in facts.parents if status in waits}
    gone = [task_id for task_id, status in facts.parents if status is TaskStatus.NOT_FOUND and not facts.tries]
    if not awaited and not gone:
        return None
    told: list[str] = []
    if awaited:
        told.append(f"it waits for {', '.join(f'{task_id} ({status})' for task_id, status in awaited.items())}")
    if gone:
        told.append(f"{', '.join(gone)}, which it depends on, is not stored any more, and it is decided without it")
    return Reason(Why.PARENTS, "; ".join(told), {"parents": awaited | dict.fromkeys(gone, "not_found")})


def _limited(facts: Facts) -> Reason | None:
    limit = facts.limit
    if limit is None:
        return None
    known = {"limit": limit.rule, "before": limit.before, "waiting": limit.waiting}
    line = "" if limit.before is None else f"; {limit.before} of {limit.waiting} are before it in the line"
    if limit.is_rate:
        left_s = max(limit.left_s, limit.stalled_s)
        stalled = "; a task has said that nothing may start yet" if limit.stalled_s else ""
        text = f"{limit.rule} may start; its turn is in about {left_s:.1f} s{line}{stalled}"
        return Reason(Why.RATE, text, {**known, "left_s": left_s, "stalled_s": limit.stalled_s})
    holders = f" ({', '.join(limit.holders)})" if limit.holders else ""
    return Reason(
        Why.PERMIT, f"{limit.rule}; {limit.busy} have it now{holders}{line}", {**known, "holders": list(limit.holders)}
    )


def _in_line(facts: Facts) -> Reason | None:
    line = facts.line
    if line is None:
        return None
    rule = "those of a key run one after the other" if line.in_order else "keys take turns"
    text = f"{line.before} of its key are before it, the first is {line.first}; {rule}"
    return Reason(Why.LINE, text, {"before": line.before, "first": line.first, "in_order": line.in_order})


def _delayed(facts: Facts) -> Reason | None:
    if facts.due_left_s <= 0 or facts.limit is not None or any(rule(facts) for rule in (_parents, _paused)):
        return None
    why = "it was asked for so" if facts.wanted_left_s > 0 else "its last run was given back or is to be repeated"
    text = f"it waits {facts.due_left_s:.1f} s more: {why}"
    return Reason(Why.DELAYED, text, {"left_s": facts.due_left_s, "tries": facts.tries})


def _nobody(facts: Facts) -> Reason | None:
    """Who could run it; a process that does not say what it knows may know it."""
    if not facts.workers:
        return Reason(Why.NO_WORKER, "no worker of this queue lives")
    able = [one for one in facts.processes if one.tasks is None or facts.fn_name in one.tasks]
    if facts.processes and not able:
        return Reason(Why.NO_CODE, f"no worker that lives knows a task named {facts.fn_name!r}")
    if able and not any(one.has_key for one in able):
        return Reason(Why.NO_KEY, "no worker that lives and knows the task holds the key that it is sealed with")
    return None


def _behind(facts: Facts) -> Reason | None:
    if facts.status is not TaskStatus.QUEUED or facts.line is not None or facts.is_shelved:
        return None
    higher = sum(facts.higher.values())
    if facts.before == 0 and not higher:
        return None
    own = "many" if facts.before is None else str(facts.before)
    more = "".join(f" and {count} of priority {name}" for name, count in facts.higher.items() if count)
    known = {"before": facts.before, "higher": dict(facts.higher)}
    return Reason(Why.BEHIND, f"it stands behind {own} others of priority {facts.priority}{more}", known)


def _next(facts: Facts) -> Reason:
    return Reason(Why.NEXT, "nothing is in its way: the next worker that has a free seat takes it")


RULES: Final[Sequence[Rule]] = (_schedule, _expired, _paused, _parents, _in_line, _limited, _delayed, _nobody, _behind)
