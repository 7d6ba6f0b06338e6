"""How many copies of a task must exist before its enqueue returns: the levels, and the rules that decide about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import NamedTuple

from secure_queue.errors import ConfigurationError
from secure_queue.settings import positive_seconds

PATIENCE_S, FSYNC_PATIENCE_S = 1.0, 2.0  # appendfsync everysec may take more than one second
PROBE_S, PROBE_EVERY_S = 0.1, 1.0
LONGEST_DEADLINE_S = 60.0
"""With the replay window behind it, less than finished tasks are remembered (``MARK_MS`` in ``lua/_prelude.lua``)."""


class Durability(StrEnum):
    """What an acknowledged task survives."""

    PRIMARY = "primary"
    REPLICATED = "replicated"
    ALL = "all"
    FSYNC = "fsync"


class WhenShort(StrEnum):
    """What becomes of an enqueue when too few copies confirm it for some time."""

    DEGRADE = "degrade"
    RAISE = "raise"


class Confirmation(Enum):
    """What is known about the server at the other end of a connection."""

    FRESH = "a majority has just called it the primary"
    UNWATCHED = "nobody is left who could say: every sentinel refuses connections"
    STALE = "no majority has called it the primary lately"


@dataclass(frozen=True, slots=True)
class Assurance:
    """What must hold before a call is confirmed; *copies* None: on as many replicas as there are known to be."""

    level: Durability = Durability.PRIMARY
    copies: int | None = 0
    degrades: bool = False
    degrade_after_s: float = 5.0

    def needed(self, known_replicas: int) -> int:
        """How many replicas must confirm."""
        return max(1, known_replicas) if self.copies is None else self.copies

    @property
    def patience_s(self) -> float:
        """How long the server waits for its replicas before it says how many have confirmed."""
        return FSYNC_PATIENCE_S if self.level is Durability.FSYNC else PATIENCE_S

    def believes(self, confirmation: Confirmation) -> bool:
        """Whether an acknowledgement counts that comes from a server of which this is known.

        Sentinels that refuse connections are down, and no failover can happen without them; those that are silent may be
        on the other side of a partition, electing another primary.
        """
        match confirmation:
            case Confirmation.FRESH:
                return True
            case Confirmation.UNWATCHED:
                return self.level in (Durability.PRIMARY, Durability.REPLICATED)
            case Confirmation.STALE:
                return self.level is Durability.PRIMARY


AT_PRIMARY = Assurance()


class Copies(NamedTuple):
    """Who has confirmed a write."""

    replicas: int
    on_disk: bool = True
    """Whether the server's own disk has it; True where nobody asked."""

    def enough(self, needed: int) -> bool:
        """Whether that is what was asked for."""
        return self.on_disk and self.replicas >= needed


class Shortage:
    """Since when one level finds too few copies; times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._probed_at = float("-inf")
        self.told = False
        """Whether the log says so."""

    def note(self, enough: bool, now: float) -> None:
        """Remember what a call has found."""
        if enough:
            self._since = None
        elif self._since is None:
            self._since = now

    def lasts(self, assurance: Assurance, now: float) -> bool:
        """Whether it has lasted so long that *assurance* settles for less."""
        return assurance.degrades and self._since is not None and now - self._since >= assurance.degrade_after_s

    def patience_s(self, assurance: Assurance, now: float) -> float:
        """How long the next call should wait for copies: not at all in a long shortage, but for a look now and then."""
        if not self.lasts(assurance, now):
            return assurance.patience_s
        if now - self._probed_at < PROBE_EVERY_S:
            return 0.0
        self._probed_at = now
        return PROBE_S


@dataclass(frozen=True, slots=True)
class Reach:
    """Which levels a kind of topology can keep, which of them it keeps unless told otherwise, and why no more."""

    default: Durability
    possible: frozenset[Durability]
    has_replicas: bool
    limit: str = ""


@dataclass(frozen=True, slots=True)
class DurabilityPolicy:
    """What the producers of one worker object wait for."""

    reach: Reach
    default: Durability
    replicas: int | None
    when_short: WhenShort | None
    degrade_after_s: float
    deadline_s: float
    """How long a call is repeated before it raises ``Unavailable``."""

    def assurance(self, level: Durability | None) -> Assurance:
        """What a call at *level* (None: the default one) waits for; raises ``ConfigurationError`` if it cannot be had."""
        level = level or self.default
        if level not in self.reach.possible:
            raise ConfigurationError(f"durability={level.value!r} cannot be kept here: {self.reach.limit}")
        when_short = self.when_short or (WhenShort.DEGRADE if level is Durability.REPLICATED else WhenShort.RAISE)
        return Assurance(level, self._copies(level), when_short is WhenShort.DEGRADE, self.degrade_after_s)

    def _copies(self, level: Durability) -> int | None:
        match level:
            case Durability.PRIMARY:
                return 0
            case Durability.REPLICATED:
                return 1
            case Durability.ALL:
                return self.replicas
            case Durability.FSYNC:
                return 1 if self.reach.has_replicas else 0


def level_of(given: str) -> Durability:
    """The level of that name; raises ``ConfigurationError``."""
    try:
        return Durability(given)
    except ValueError:
        raise ConfigurationError(f"durability must be one of {', '.join(Durability)}, not {given!r}") from None


def durability_policy(
    reach: Reach,
    *,
    durability: str | None,
    replicas: int | None,
    on_degraded: str | None,
    degrade_after: float | timedelta,
    deadline: float | timedelta,
) -> DurabilityPolicy:
    """Check the flat arguments of ``Worker`` and turn them into one value; raises ``ConfigurationError``."""
    if replicas is not None and (isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1):
        raise ConfigurationError(
            f"replicas must be a whole number from 1 on, not {replicas!r}; without it it is found out"
        )
    if replicas is not None and not reach.has_replicas:
        raise ConfigurationError(f"replicas={replicas} makes no sense here: {reach.limit}")
    if on_degraded is not None and on_degraded not in tuple(WhenShort):
        raise ConfigurationError(f"on_degraded must be one of {', '.join(WhenShort)}, not {on_degraded!r}")
    default = reach.default if durability is None else level_of(durability)
    when_short = None if on_degraded is None else WhenShort(on_degraded)
    after_s, deadline_s = positive_seconds("degrade_after", degrade_after), positive_seconds("deadline", deadline)
    if deadline_s > LONGEST_DEADLINE_S:
        raise ConfigurationError(
            f"deadline must be at most {LONGEST_DEADLINE_S:g} seconds, not {deadline_s:g}: "
            "an enqueue that is repeated later than that could not be recognised"
        )
    checked = DurabilityPolicy(reach, default, replicas, when_short, after_s, deadline_s)
    checked.assurance(None)
    return checked
