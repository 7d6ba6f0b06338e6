"""``every``: the only waiting loop of the house."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import anyio

from secure_queue.errors import SecureQueueError

_log = logging.getLogger("secure_queue.worker")


async def every(
    interval_s: float,
    tick: Callable[[], Awaitable[float | None]],
    pause: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> None:
    """Call *tick* again and again, *interval_s* apart (10 % jitter) or sooner if it returns fewer seconds.

    *pause* waits for so many seconds, or as long as it thinks fit. A round that fails is reported and does not end the loop.
    """
    while True:
        sooner: float | None = None
        try:
            sooner = await tick()
        except SecureQueueError as error:
            _log.warning("upkeep failed this time: %s", error)
        except Exception:
            _log.exception("upkeep failed this time")
        whole = interval_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
        await pause(whole if sooner is None else min(whole, sooner))
