"""When a schedule fires: crontab expressions and fixed intervals, as values. The only module that imports cronsim.

cronsim follows Debian's cron, also through changes to and from daylight saving time: a firing in the hour that does not
exist comes right after it, one in the hour that exists twice comes once, and steps such as ``*/15`` go on through both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import dropwhile, takewhile
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from secure_queue.errors import ConfigurationError
from secure_queue.retry import seconds

SHORTEST_S, LONGEST_S = 1.0, 366 * 86_400.0
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Cron:
    """A crontab expression of five fields, or of six with the second first, in a time zone (an IANA name or tzinfo).

    Raises ``ConfigurationError`` for an expression that cron does not know and for a zone without a name.
    """

    expression: str
    tz: str | tzinfo = "UTC"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tz", zone_name(self.tz))
        try:
            next(self._firings(datetime.now(UTC), backwards=False))
        except (CronSimError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"{self.expression!r} is no crontab expression ({error}); write five fields, for example '0 3 * * *', "
                "or six with the second first"
            ) from None
        except StopIteration:
            raise ConfigurationError(f"{self.expression!r} never fires within fifty years") from None

    def next_after(self, moment_ms: int) -> int | None:
        """The first firing after a moment; both in milliseconds since the epoch. None if there is none any more."""
        firings = map(_ms, self._firings(_moment(moment_ms), backwards=False))
        # In an hour that comes again they begin with those of the first pass.
        return next((firing for firing in firings if firing > moment_ms), None)

    def back_from(self, moment_ms: int) -> Iterator[int]:
        """The firings at *moment_ms* and before, latest first."""
        moment = _moment(moment_ms) + timedelta(milliseconds=1)
        moment += _comes_again(moment.astimezone(self._zone))
        return dropwhile(lambda firing: firing > moment_ms, map(_ms, self._firings(moment, backwards=True)))

    @property
    def identity(self) -> str:
        """The same text for two expressions that are spelled differently and mean the same."""
        return f"cron {' '.join(self._fields.split())} {self.tz}"

    @property
    def _fields(self) -> str:
        return _NICKNAMES.get(self.expression, self.expression)

    def _firings(self, moment: datetime, *, backwards: bool) -> Iterator[datetime]:
        return iter(CronSim(self._fields, moment.astimezone(self._zone), reverse=backwards))

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(str(self.tz))

    def __str__(self) -> str:
        return f"{self.expression} ({self.tz})"


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval in seconds or as a timedelta, from 1 second to 366 days, counted from the epoch.

    So all workers agree about it, whenever they started. Raises ``ConfigurationError`` for an interval out of range.
    """

    interval: float | timedelta

    def __post_init__(self) -> None:
        if not SHORTEST_S <= seconds(self.interval) <= LONGEST_S:
            raise ConfigurationError("an interval is from 1 second to 366 days, for example Every(30)")
        object.__setattr__(self, "interval", seconds(self.interval))

    @property
    def interval_ms(self) -> int:
        """The interval in milliseconds."""
        return round(seconds(self.interval) * 1000)

    @property
    def identity(self) -> str:
        """The same text for two that mean the same."""
        return f"every {self.interval_ms}"

    def next_after(self, moment_ms: int) -> int | None:
        """The first firing after a moment; both in milliseconds since the epoch."""
        return (moment_ms // self.interval_ms + 1) * self.interval_ms

    def back_from(self, moment_ms: int) -> Iterator[int]:
        """The firings at *moment_ms* and before, latest first."""
        last = moment_ms // self.interval_ms * self.interval_ms
        return iter(range(last, -1, -self.interval_ms))

    def __str__(self) -> str:
        return f"every {seconds(self.interval):g} s"


Rule: TypeAlias = Cron | Every


def as_rule(given: object, tz: str | tzinfo) -> Rule:
    """A rule as users write it: ``Cron``, ``Every``, a crontab expression (in *tz*), or a timedelta."""
    match given:
        case Cron() | Every():
            return given
        case str():
            return Cron(given, tz)
        case timedelta():
            return Every(given)
        case _:
            raise ConfigurationError("a schedule is a crontab expression, Cron(…), Every(…) or a timedelta")


def moments_of(crontab: str | None, tz: str | tzinfo) -> Cron | None:
    """The moments of a crontab expression; None is never. Raises ``ConfigurationError``."""
    return None if crontab is None else Cron(crontab, tz)


def firings_between(rule: Rule, after_ms: int, until_ms: int, most: int) -> list[int]:
    """The firings after one moment and until another, oldest first; of more than *most* the latest."""
    found: list[int] = []
    for firing in takewhile(lambda moment: moment > after_ms, rule.back_from(until_ms)):
        found.append(firing)
        if len(found) == most:
            break
    return found[::-1]


def zone_name(zone: object) -> str:
    """The IANA name of a time zone; raises ``ConfigurationError`` if it has none, or this system does not know it."""
    name = zone if isinstance(zone, str) else getattr(zone, "key", "UTC" if zone is UTC else None)
    try:
        ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        name = None
    if not isinstance(name, str):
        raise ConfigurationError(
            "a time zone has an IANA name, for example tz='Europe/Berlin' (install tzdata if needed)"
        )
    return name


def _comes_again(local: datetime) -> timedelta:
    """How much of the day comes again while clocks that were put back catch up; else nothing.

    Who looks back from there does not see those fixed times of the first pass that are later by the clock.
    """
    before, now = local.replace(fold=0).utcoffset(), local.utcoffset()
    return before - now if before is not None and now is not None else timedelta()


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
