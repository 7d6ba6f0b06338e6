"""Checks of the queue itself: a task on trial, replicas that confirm, what waits too long, what cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator

from secure_queue.doctor.facts import Facts
from secure_queue.doctor.findings import Check, Problem, WholeCheck, fail, unknown, warn

SLOW_STEP_MS = 200.0
OLD_READY_MS = 15 * 60_000
OVERDUE_MS = 10_000
_TAMPERED = ("unsigned", "bad-signature", "moved", "dangerous-pickle")
_STRANGE = ("stray-key", "wrong-type")


def rehearsal(facts: Facts) -> Iterator[Problem]:
    """A task of the doctor's own must go all the way, and quickly."""
    for partition in facts.partitions:
        if partition.rehearsal is None:
            yield fail(
                f"a task could not be tried: {partition.problem}", "repair what is reported above", partition.tag
            )
            continue
        if partition.rehearsal.denied or partition.rehearsal.refusal:
            yield fail("no task was tried, because rights are missing", "see `rights`", partition.tag)
        for step in partition.rehearsal.steps:
            if step.problem:
                yield fail(f"{step.name}: {step.problem}", "repair what is reported above", partition.tag)
            elif step.ms > SLOW_STEP_MS:
                yield warn(
                    f"{step.name} took {step.ms:.0f} ms", "look at SLOWLOG, the load and the network", partition.tag
                )


def confirmation(facts: Facts) -> Iterator[Problem]:
    """``WAIT`` must count the replicas that are there, and none that are not."""
    for partition in facts.partitions:
        tried = partition.rehearsal
        if tried is None or tried.confirmed is None:
            yield unknown("WAIT could not be tried", "ACL SETUSER <user> +wait, or see `rights`", partition.tag)
        elif tried.invented:
            yield fail(
                "WAIT counts more replicas than there are",
                "connect to the server directly, not through a proxy",
                partition.tag,
            )
        elif tried.confirmed < tried.replicas:
            yield warn(
                f"{tried.confirmed} of {tried.replicas} replicas confirmed a write within a second",
                "look at the lag of the replicas and the network",
                partition.tag,
            )


def backlog(facts: Facts) -> Iterator[Problem]:
    """Tasks that wait while nobody runs them, and leases that nobody takes back."""
    for partition in facts.partitions:
        queue = partition.queue
        if queue is None:
            yield unknown(f"the queue could not be looked at: {partition.problem}", where=partition.tag)
            continue
        if queue.ready and not queue.workers:
            yield warn(f"no worker lives; ready tasks: {queue.ready}", "secure-queue run", partition.tag)
        elif queue.oldest_ready_ms is not None and queue.oldest_ready_ms > OLD_READY_MS:
            yield warn(
                f"the first task that is ready was enqueued {queue.oldest_ready_ms / 60_000:.0f} minutes ago",
                "add workers, unless it was scheduled or retried",
                partition.tag,
            )
        if queue.overdue_lease_ms is not None and queue.overdue_lease_ms > OVERDUE_MS:
            yield _overdue(queue.overdue_lease_ms, queue.workers, partition.tag)


def _overdue(ms: int, workers: int, tag: str) -> Problem:
    reason = f"a lease ran out {ms / 1000:.0f} s ago and was not taken back"
    if workers:
        return fail(reason, "a worker lives but does no upkeep: look at its log, then restart it", tag)
    return warn(f"{reason}: no worker lives", "secure-queue run", tag)


def keys(facts: Facts) -> Iterator[Problem]:
    """What is stored must open with the keys that are configured here."""
    for partition in facts.partitions:
        stored = partition.stored
        if stored is None:
            yield unknown(
                "no key is configured here, or nothing could be read", "export SECURE_QUEUE_KEYS=…", partition.tag
            )
        elif missing := stored.codes.get("unknown-key", 0):
            yield fail(
                f"{missing} of {stored.looked_at} stored payloads name a key that is not configured here",
                "give every producer and worker the same key ring; secure-queue audit lists them",
                partition.tag,
            )


def payloads(facts: Facts) -> Iterator[Problem]:
    """A short look for what no producer of this queue has written."""
    for partition in facts.partitions:
        if partition.stored is None:
            yield unknown("nothing that is stored was looked at", "see `keys`", partition.tag)
            continue
        codes = partition.stored.codes
        if forged := sum(codes.get(code, 0) for code in _TAMPERED):
            yield fail(
                f"{forged} stored payloads are not genuine", "secure-queue audit; find out who can write", partition.tag
            )
        if strange := sum(codes.get(code, 0) for code in _STRANGE):
            yield warn(
                f"keys below {partition.key_prefix} that are no part of this release's layout: {strange}",
                "secure-queue audit lists them; a newer release, or a stranger, has made them",
                partition.tag,
            )


CHECKS: tuple[Check, ...] = (
    WholeCheck("rehearsal", "a task on trial went all the way", rehearsal, Facts.all_partitions),
    WholeCheck("confirmation", "replicas confirm what is written", confirmation, Facts.all_partitions),
    WholeCheck("backlog-age", "nothing waits that should run", backlog, Facts.all_partitions),
    WholeCheck("keys", "what is stored opens with the configured keys", keys, Facts.all_partitions),
    WholeCheck("payloads", "nothing foreign was found", payloads, Facts.all_partitions),
)
