"""Turns the end of a run into sealed bytes and puts them into the outbox; only ``begin`` waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from secure_queue.clock import now_ms
from secure_queue.errors import SecureQueueError
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import NOBODY_KNOWS, Desk, Run
from secure_queue.execution.verdict import (
    Bury,
    Cancel,
    Ending,
    GiveUp,
    HandBack,
    LeaseLost,
    RetryIn,
    Verdict,
    decide,
    unknown_task,
)
from secure_queue.names import printable
from secure_queue.outcomes import ABORTED, aborted_head, seal_done, seal_failure, seal_mark
from secure_queue.payload.codec import Codec, Opened
from secure_queue.payload.failures import Failure, describe
from secure_queue.payload.records import Outcome, ResultHead
from secure_queue.payload.redaction import redacted
from secure_queue.storage import End, GiveBack

UNKNOWN_FOR_MS = 60_000
"""How long a task that nobody knows is handed on before it fails: long enough for a rolling deploy."""
UNKNOWN_PAUSE_MS = 1_000
MOST_UNKNOWN = 10_000

_DONE = Outcome.DONE  # looked up once: a member of an Enum costs as much as a call
_log = logging.getLogger("secure_queue.worker")


class Settling:
    """Carries out verdicts."""

    def __init__(
        self, codec: Codec, desk: Desk, outboxes: Mapping[int, Outbox], worker_id: str, *, redact: bool = True
    ) -> None:
        self._codec = codec
        self._desk = desk
        self._outboxes = outboxes
        self._worker_id = worker_id
        self._redact = redact
        self._unknown_since: dict[bytes, int] = {}

    def succeed(self, run: Run, task: Opened, value: bytes) -> None:
        """The task returned *value*, already serialized; raises ``UnserializableValue`` if it is too large."""
        claim = run.claim
        head = ResultHead(_DONE, claim.tries, run.started_ms, now_ms(), task.issued_ms, self._worker_id)
        sealed = seal_done(self._codec, task, head, value, run.ttl_ms, run.settings)
        keep = run.ttl_ms or self._mark(run, head)
        self._outboxes[run.partition].complete.add(End(claim.untrusted_id, claim.token, keep, sealed))
        self._desk.counters["completed"] += 1

    def settle(self, run: Run, ending: Ending) -> None:
        """The task did not return."""
        match _verdict(ending, run):
            case RetryIn(delay_ms):
                self.try_again(run, delay_ms)
            case Bury(error):
                self.fail(run, error) if type(error) is Failure else self.fail_of(run, error)
            case Cancel():
                self.skip(run, ABORTED)
            case GiveUp():
                self.let_go(run)
            case HandBack(after_ms):
                self.hand_back(run, after_ms=after_ms)

    def fail_of(self, run: Run, error: BaseException, value: object = None) -> None:
        """The task failed for good by an exception, whose words must not tell its arguments or the *value* it returned."""
        failure = describe(error)
        self.fail(run, redacted(failure, [run.arguments, value]) if self._redact else failure)

    def fail(self, run: Run, failure: Failure) -> None:
        """The task failed for good."""
        claim, task = run.claim, run.genuine
        head = ResultHead(Outcome.FAILED, claim.tries, run.started_ms, now_ms(), task.issued_ms, self._worker_id)
        sealed = seal_failure(self._codec, task, head, failure, run.ttl_ms, run.settings)
        keep = run.ttl_ms or self._mark(run, head)
        self._outboxes[run.partition].bury.add(End(claim.untrusted_id, claim.token, keep, sealed))
        self._desk.counters["failed"] += 1
        if not run.settings.silent:
            names = task.task_id, printable(task.function), printable(failure.type_name)
            _log.warning("task %s (%s) failed for good: %s", *names)

    def repeat(self, run: Run, end: End, *, dead: bool) -> None:
        """Give the task the end that it has had before."""
        outbox = self._outboxes[run.partition]
        (outbox.bury if dead else outbox.complete).add(end)
        self._desk.counters["repeated"] += 1

    def skip(self, run: Run, reason: Failure) -> None:
        """The task was aborted, or need not run any more."""
        claim = run.claim
        head = aborted_head(run.genuine, claim.tries, self._worker_id, run.started_ms)
        sealed = seal_failure(self._codec, run.genuine, head, reason, 0)
        keep = run.ttl_ms or self._mark(run, head)
        self._outboxes[run.partition].complete.add(End(claim.untrusted_id, claim.token, keep, sealed))
        self._desk.counters["aborted"] += 1

    def _mark(self, run: Run, head: ResultHead) -> bytes:
        """What stands in the place of a result that is not kept."""
        return seal_mark(self._codec, run.genuine, head, run.settings)

    def try_again(self, run: Run, delay_ms: int) -> None:
        """Give the task back for another try in *delay_ms* milliseconds."""
        claim = run.claim
        self._outboxes[run.partition].retry[claim.priority].add(GiveBack(claim.untrusted_id, claim.token, -delay_ms))
        self._desk.counters["retried"] += 1

    async def begin(self, run: Run) -> bool:
        """Note that the last permitted try begins; False if it must not, and then that is settled."""
        claim = run.claim
        try:
            if await self._outboxes[run.partition].begin.ask(GiveBack(claim.untrusted_id, claim.token)):
                return True
            self.let_go(run)
        except SecureQueueError as error:
            _log.warning("a last try could not be noted, it is left to others: %s", error)
            self.hand_back(run)
        return False

    def let_go(self, run: Run) -> None:
        """The lease was lost: somebody else has the task."""
        self._desk.let_go(((run.claim.untrusted_id, run.claim.token),))
        self._desk.counters["lost"] += 1

    def decline(self, run: Run) -> None:
        """A run that was interrupted before any seat took it."""
        if isinstance(run.interruption, LeaseLost):
            self.let_go(run)
        else:
            self.hand_back(run)

    def hand_back(self, run: Run, *, after_ms: int = 0) -> None:
        """Hand the task back, now or in *after_ms* milliseconds; the try does not count."""
        claim = run.claim
        self._outboxes[run.partition].release[claim.priority].add(GiveBack(claim.untrusted_id, claim.token, -after_ms))
        self._desk.counters["handed_back"] += 1

    def puzzle_over(self, run: Run) -> None:
        """No function of that name here: others may know it (a deploy under way), so it fails only after some time."""
        task = run.genuine
        name = printable(task.function)
        if run.started_ms - self._met_at(run) < UNKNOWN_FOR_MS:
            _log.warning("no task named %s is known to this worker; it is tried again later", name)
            self.hand_back(run, after_ms=UNKNOWN_PAUSE_MS)
        else:
            run.ttl_ms = NOBODY_KNOWS.ttl_ms
            del self._unknown_since[run.claim.untrusted_id]
            self.fail(run, unknown_task(name))

    def _met_at(self, run: Run) -> int:
        """When this worker first met a task that it does not know: a backlog may have been waiting for a deploy."""
        while len(self._unknown_since) >= MOST_UNKNOWN:
            del self._unknown_since[next(iter(self._unknown_since))]
        return self._unknown_since.setdefault(run.claim.untrusted_id, run.started_ms)


def _verdict(ending: Ending, run: Run) -> Verdict:
    """What becomes of *run*; a retry policy or a ``Retry`` that makes no sense fails the task, not the worker."""
    try:
        expires_ms = run.genuine.expires_ms
        left_s = None if expires_ms is None else (expires_ms - now_ms()) / 1000
        return decide(ending, run.claim.tries, run.settings, left_s=left_s)
    except Exception as error:
        return Bury(error)
