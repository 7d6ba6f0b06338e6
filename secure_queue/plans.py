"""How a schedule is kept: its rule, what becomes of firings that were missed, whether runs may overlap."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from secure_queue.clock import now_ms
from secure_queue.cron import Rule, firings_between
from secure_queue.errors import LONGEST_S, ConfigurationError
from secure_queue.settings import positive_seconds

MOST_CAUGHT_UP = 100
LOOK_BACK_MS = 366 * 86_400_000
MAX_SKEW_MS = 600_000
"""A mark further ahead of the server's clock is a forgery or a fault, and counts for nothing."""


class Misfire(StrEnum):
    """What becomes of firings that are found too late, because no worker ran."""

    SKIP = "skip"
    """They are dropped."""
    ONCE = "once"
    """The latest one runs, late; the others are dropped."""
    CATCH_UP = "catch_up"
    """All of them run, up to the latest hundred."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When a schedule fires and how strictly. Lateness up to ``max_drift_s`` seconds is no misfire."""

    rule: Rule
    misfire: Misfire = Misfire.ONCE
    max_drift_s: float = 60.0
    overlap: bool = False
    at_startup: bool = False

    @property
    def misses_nothing(self) -> bool:
        """Whether every firing is to run, so that none is dropped because the run before goes on: it waits for its end."""
        return self.misfire is Misfire.CATCH_UP


class Mark(NamedTuple):
    """How far a schedule has been looked at, and its last firing; milliseconds since the epoch, 0 for never."""

    looked_ms: int
    fired_ms: int
    task_id: str
    rule: str = ""
    """Whose moments were looked at, as ``rule_id`` names it; empty if the mark does not say."""

    def is_of(self, rule: Rule) -> bool:
        """Whether it says how far the moments of this very rule were looked at."""
        return self.rule in ("", rule_id(rule))


def plan(
    rule: Rule,
    *,
    misfire: str = Misfire.ONCE,
    max_schedule_drift: float | timedelta = 60,
    overlap: bool = False,
    at_startup: bool = False,
) -> Plan:
    """Check the options as users write them; raises ``ConfigurationError``."""
    try:
        policy = Misfire(misfire)
    except ValueError:
        raise ConfigurationError(f"misfire= is one of {', '.join(Misfire)}") from None
    return Plan(
        rule, policy, positive_seconds("max_schedule_drift", max_schedule_drift, zero=True), overlap, at_startup
    )


def rule_id(rule: Rule) -> str:
    """What marks call a rule: 16 hexadecimal digits."""
    return hashlib.sha256(f"secure_queue/v1/rule {rule.identity}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def due(plan: Plan, mark: Mark | None, now_ms: int, *, begun_ms: int) -> list[int]:
    """The firings to run now, oldest first, for a schedule that was last looked at as *mark* says (None: never).

    Under another rule nothing was missed before *begun_ms*, when this worker began to look after it. From then on its
    moments count, also if workers of the other rule still look: what is before a moment that any of them has looked at is
    over.
    """
    if mark is None:
        return []
    looked_ms = mark.looked_ms if mark.is_of(plan.rule) else max(mark.looked_ms, begun_ms)
    since = max(looked_ms, now_ms - LOOK_BACK_MS)
    most = MOST_CAUGHT_UP if plan.misfire is Misfire.CATCH_UP else 1
    firings = firings_between(plan.rule, since, now_ms, most)
    if plan.misfire is Misfire.SKIP:
        return [firing for firing in firings if now_ms - firing <= plan.max_drift_s * 1000]
    return firings


def due_at_startup(plan: Plan, mark: Mark | None, now_ms: int) -> list[int]:
    """The extra firing when a worker starts; a fleet that starts together counts as one start."""
    recent = mark is not None and now_ms - mark.fired_ms <= plan.max_drift_s * 1000
    return [now_ms] if plan.at_startup and not recent else []


def read_mark(untrusted: bytes, server_ms: int) -> Mark | None:
    """What a stored mark says; None if there is none, or it cannot be true."""
    looked, _, rest = untrusted.partition(b":")
    fired, _, rest = rest.partition(b":")
    task_id, _, rule = rest.partition(b":")
    if not (_is_moment(looked) and _is_moment(fired)) or len(task_id) > 128 or not rest.isascii():
        return None
    mark = Mark(int(looked), int(fired), task_id.decode("ascii"), rule.decode("ascii"))
    return None if mark.looked_ms > server_ms + MAX_SKEW_MS else mark


def _is_moment(untrusted: bytes) -> bool:
    return untrusted.isdigit() and len(untrusted) <= 15


def only_moment(run_at: object, schedule: object) -> datetime:
    """*run_at*, which some say for a schedule of one moment; raises ``ConfigurationError`` for both, or for no moment."""
    if schedule is not None:
        raise ConfigurationError("run_at= is schedule= for a moment; give one of them")
    if not isinstance(run_at, datetime):
        raise ConfigurationError(
            "run_at= is an aware datetime; what repeats, or counts from now, is schedule= or delay="
        )
    return run_at


def moment_ms(moment: datetime) -> int:
    """An aware datetime in milliseconds since the epoch; raises ``ConfigurationError`` for a naive one."""
    if moment.utcoffset() is None:
        raise ConfigurationError(
            "schedule= needs an aware datetime, for example datetime.now(UTC) + timedelta(hours=1)"
        )
    at_ms = round(moment.timestamp() * 1000)
    if at_ms - now_ms() > LONGEST_S * 1000:
        raise ConfigurationError("schedule= is more than a hundred years away")
    return max(1, at_ms)  # negative would mean: from now
