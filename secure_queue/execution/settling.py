"""Turns the end of a run into sealed bytes and puts them into the outbox; nothing here waits."""

from __future__ import annotations

import logging

from secure_queue.clock import now_ms
from secure_queue.execution.outbox import Outbox
from secure_queue.execution.runs import NOBODY_KNOWS, Desk, Run
from secure_queue.execution.verdict import (
    Bury,
    Cancel,
    Ending,
    GiveUp,
    HandBack,
    RetryIn,
    Verdict,
    decide,
    unknown_task,
)
from secure_queue.names import printable
from secure_queue.outcomes import aborted_result, seal_done, seal_failure
from secure_queue.payload.codec import Codec, Opened
from secure_queue.payload.failures import Failure, describe
from secure_queue.payload.records import Outcome, ResultHead
from secure_queue.payload.redaction import redacted
from secure_queue.storage import End, GiveBack

UNKNOWN_FOR_MS = 60_000
"""How long a task that nobody knows is handed on before it fails: long enough for a rolling deploy."""
UNKNOWN_PAUSE_MS = 1_000

_log = logging.getLogger("secure_queue.worker")


class Settling:
    """Carries out verdicts."""

    def __init__(self, codec: Codec, desk: Desk, outbox: Outbox, worker_id: str, *, redact: bool = True) -> None:
        self._codec = codec
        self._desk = desk
        self._outbox = outbox
        self._worker_id = worker_id
        self._redact = redact

    def succeed(self, run: Run, task: Opened, value: bytes) -> None:
        """The task returned *value*, already serialized; raises ``UnserializableValue`` if it is too large."""
        claim = run.claim
        head = ResultHead(Outcome.DONE, claim.tries, run.started_ms, now_ms(), task.issued_ms, self._worker_id)
        sealed = seal_done(self._codec, task, head, value, run.ttl_ms)
        self._outbox.complete.add(End(claim.untrusted_id, claim.token, run.ttl_ms, sealed))
        self._desk.counters["completed"] += 1

    def settle(self, run: Run, ending: Ending) -> None:
        """The task did not return."""
        match _verdict(ending, run):
            case RetryIn(delay_ms):
                self.try_again(run, delay_ms)
            case Bury(error):
                self.fail(run, error) if type(error) is Failure else self.fail_of(run, error)
            case Cancel():
                self._abort(run)
            case GiveUp():
                self._desk.let_go(((run.claim.untrusted_id, run.claim.token),))
                self._desk.counters["lost"] += 1
            case HandBack():
                self.hand_back(run)

    def fail_of(self, run: Run, error: BaseException, value: object = None) -> None:
        """The task failed for good by an exception, whose words must not tell its arguments or the *value* it returned."""
        failure = describe(error)
        self.fail(run, redacted(failure, [run.arguments, value]) if self._redact else failure)

    def fail(self, run: Run, failure: Failure) -> None:
        """The task failed for good."""
        claim, task = run.claim, run.genuine
        head = ResultHead(Outcome.FAILED, claim.tries, run.started_ms, now_ms(), task.issued_ms, self._worker_id)
        sealed = seal_failure(self._codec, task, head, failure, run.ttl_ms)
        self._outbox.bury.add(End(claim.untrusted_id, claim.token, run.ttl_ms, sealed))
        self._desk.counters["failed"] += 1
        if not run.settings.silent:
            names = task.task_id, printable(task.function), printable(failure.type_name)
            _log.warning("task %s (%s) failed for good: %s", *names)

    def _abort(self, run: Run) -> None:
        claim = run.claim
        sealed = aborted_result(self._codec, run.genuine, claim.tries, self._worker_id, run.started_ms)
        self._outbox.complete.add(End(claim.untrusted_id, claim.token, run.ttl_ms, sealed))
        self._desk.counters["aborted"] += 1

    def try_again(self, run: Run, delay_ms: int) -> None:
        """Give the task back for another try in *delay_ms* milliseconds."""
        claim = run.claim
        self._outbox.retry[claim.priority].add(GiveBack(claim.untrusted_id, claim.token, -delay_ms))
        self._desk.counters["retried"] += 1

    def hand_back(self, run: Run, *, after_ms: int = 0) -> None:
        """Hand the task back, now or in *after_ms* milliseconds; the try does not count."""
        claim = run.claim
        self._outbox.release[claim.priority].add(GiveBack(claim.untrusted_id, claim.token, -after_ms))
        self._desk.counters["handed_back"] += 1

    def puzzle_over(self, run: Run) -> None:
        """No function of that name here: others may know it (a deploy under way), so it fails only after some time."""
        task = run.genuine
        name = printable(task.function)
        if run.started_ms - max(task.issued_ms, task.not_before_ms) < UNKNOWN_FOR_MS:
            _log.warning("no task named %s is known to this worker; it is tried again later", name)
            self.hand_back(run, after_ms=UNKNOWN_PAUSE_MS)
        else:
            run.ttl_ms = NOBODY_KNOWS.ttl_ms
            self.fail(run, unknown_task(name))


def _verdict(ending: Ending, run: Run) -> Verdict:
    """What becomes of *run*; a retry policy or a ``Retry`` that makes no sense fails the task, not the worker."""
    try:
        expires_ms = run.genuine.expires_ms
        left_s = None if expires_ms is None else (expires_ms - now_ms()) / 1000
        return decide(ending, run.claim.tries, run.settings, left_s=left_s)
    except Exception as error:
        return Bury(error)
