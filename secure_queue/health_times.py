"""At which moments a worker that was given ``health_crontab=`` tells how it is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from secure_queue.clock import now_ms
from secure_queue.cron import Cron
from secure_queue.health import Health

AGAIN_S: Final = 5.0
"""How long after a moment in which the server did not answer the next one is looked for."""

_log = logging.getLogger("secure_queue.health")


def log_health(worker_id: str, health: Health) -> None:
    """Write one line about a worker to the log: a warning if it is not well."""
    figures = worker_id, health.queue, health.running, health.processed
    if health.problems:
        _log.warning("worker %s of queue %s: %d running, %d processed; %s", *figures, ", ".join(health.problems))
    else:
        _log.info("worker %s of queue %s is well: %d running, %d processed", *figures)


class HealthTimes:
    """Tells at each moment of *rule*; ``tick`` belongs into a loop and says in how many seconds it is needed again."""

    def __init__(self, rule: Cron, tell: Callable[[], Awaitable[None]], clock: Callable[[], int] = now_ms) -> None:
        self._rule = rule
        self._tell = tell
        self._clock = clock
        self._next_ms = rule.next_after(clock())

    async def tick(self) -> float | None:
        """Tell if it is time; a moment that was missed is told once."""
        if self._next_ms is not None and self._clock() >= self._next_ms:
            self._next_ms = self._rule.next_after(self._clock())
            await self._tell()
        return None if self._next_ms is None else max(0.0, self._next_ms - self._clock()) / 1000
