"""What an audit must say of the forgeries: name each of them while it lies in wait, and find all of them put aside later."""

from __future__ import annotations

from collections.abc import Sequence

from secure_queue.audit.findings import Code, Finding, Kind, Severity
from secure_queue.audit.report import AuditReport
from secure_queue.demo.attack import Forgery

CODES = {"not-an-envelope": Code.UNSIGNED, "bad-signature": Code.BAD_SIGNATURE, "wrong-task": Code.MOVED}
"""How an audit calls what a worker refuses for these reasons."""


def alarms(report: AuditReport) -> list[Finding]:
    """The critical findings: stored bytes that somebody without a key has written or moved."""
    return [finding for finding in report.findings if finding.severity is Severity.CRITICAL]


def problems_before(forgeries: Sequence[Forgery], report: AuditReport) -> list[str]:
    """What speaks against "each forgery is called by its name, and nothing genuine is suspected"."""
    expected = {(task_id, CODES[forgery.reason]) for forgery in forgeries for task_id in forgery.task_ids}
    found = {(finding.id, finding.code) for finding in alarms(report)}
    missed = [f"the audit did not call task {task_id} {code}" for task_id, code in sorted(expected - found)]
    return missed + [f"the audit called {name} {code} without a reason" for name, code in sorted(found - expected)]


def problems_after(forgeries: Sequence[Forgery], report: AuditReport) -> list[str]:
    """What speaks against "all forgeries are in quarantine, and nothing dangerous is left in the queue"."""
    aside = {finding.id for finding in report.findings if finding.kind is Kind.QUARANTINED}
    missing = {task_id for forgery in forgeries for task_id in forgery.task_ids} - aside
    problems = [f"the audit did not find task {task_id} in quarantine" for task_id in sorted(missing)]
    if alarms(report):
        problems.append(f"the audit still found {len(alarms(report))} forged payloads in the queue")
    return problems
