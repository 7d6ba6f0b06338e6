"""Sends what running tasks say before their end; only the holder of the lease can."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

from anyio.lowlevel import checkpoint

from secure_queue.errors import PayloadError, SecureQueueError
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import Run
from secure_queue.execution.verdict import LeaseLost
from secure_queue.outcomes import seal_part
from secure_queue.payload.codec import Codec
from secure_queue.payload.records import PartHead
from secure_queue.reports import MOST_PART_BYTES, MOST_PARTS, Report, Reported

SHORTEST_MS: Final = 3_600_000
LONGEST_MS: Final = 7 * 86_400_000
"""As long as a part is sealed for."""


class Reporting:
    """Seals reports and puts them into the outbox; each waits until it is kept."""

    def __init__(self, codec: Codec, outboxes: Mapping[int, Outbox]) -> None:
        self._codec = codec
        self._outboxes = outboxes

    async def stream(
        self, run: Run, fn: Callable[..., AsyncGenerator[Any, None]], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> int:
        """Send what an async generator yields, part by part; the result of the task is how many there were.

        Called once more, by a middleware, it begins another stream.
        """
        which, count = os.urandom(8), 0
        async with aclosing(fn(*args, **kwargs)) as parts:
            async for value in parts:
                await self._say(run, value, PartHead(which, count))
                count += 1
        return count

    async def report(self, run: Run, value: Any) -> None:
        """Keep *value* as the progress of *run*.

        Raises ``UnserializableValue``, ``Unavailable`` and ``Backpressure``.
        """
        await self._say(run, value, PartHead(sha256(run.claim.token + run.claim.untrusted_id).digest()[:8], None))

    async def _say(self, run: Run, value: Any, head: PartHead) -> None:
        """Keep *value* as the progress of *run*, or as a part of its result.

        Raises ``UnserializableValue``, ``PayloadError`` when that is too much for one task, ``Unavailable`` and
        ``Backpressure``.
        """
        claim = run.claim
        serialized = self._codec.serializer.dumps(value)
        body = serialized if isinstance(serialized, bytes) else await serialized
        sealed = seal_part(self._codec, run.genuine, head, body, run.settings)
        ttl_ms = LONGEST_MS if run.ttl_ms < 0 else min(max(run.ttl_ms, SHORTEST_MS), LONGEST_MS)
        report = Report(claim.untrusted_id, claim.token, head.part, sealed, ttl_ms)
        answer = await self._outboxes[run.partition].report.ask(report)
        if answer is Reported.TOO_MUCH:
            raise PayloadError(
                f"a task may yield at most {MOST_PARTS:,} parts and {MOST_PART_BYTES >> 20} MiB; store the rest elsewhere"
            )
        if answer is Reported.LEASE_LOST:
            run.interrupt(LeaseLost())
            await checkpoint()
            raise SecureQueueError("the lease of this task was lost; another worker runs it")
