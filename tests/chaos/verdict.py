"""From what the ledgers say to a verdict, and from a verdict and a promise to what was broken: rules without I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from math import inf

from tests.chaos.ledger import Entry

CONFIRMED_S = 5.0
"""How long an acknowledgement is believed after a majority has last named the primary."""
SLACK_S = 2.0
"""What a busy machine may add to it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a case when it is over; times of the monotonic clock."""

    producer: Sequence[Entry]
    workers: Sequence[Sequence[Entry]]
    level: str
    """The durability that was asked for."""
    asked: int
    """How many enqueues were begun."""
    delay_s: float
    """How long after its enqueue a task is due."""
    struck_at: float
    mended_at: float
    """When what the fault had broken was whole again, or the fault was over."""
    linked: bool
    """Whether each task had to wait for another one."""
    deaths: int
    """Worker processes that ended although nobody ended them, or not clean when they were told to."""
    left: int
    """Tasks that stood anywhere in the queue at the end."""
    keyed: int = 0
    ordered: int = 0
    """See ``Load``."""
    silence: tuple[float, float] = (0.0, 0.0)
    """From when until when nobody could say who is primary."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the tasks of a case."""

    acked: int
    lost: int
    """Acknowledged and never run."""
    early: int
    """Run before what they had to wait for."""
    refused: Counter[str]
    """Enqueues that raised, by the name of the error."""
    unreturned: int
    """Enqueues that neither returned nor raised."""
    degraded: int
    """Acknowledgements at a lower level than the one asked for."""
    unconfirmed: int
    """Acknowledgements so long after a majority could last name the primary that they must not be believed."""
    again: int
    """Runs under a further try: a lease ran out, or a worker handed the task back."""
    anew: int
    """Runs whose tries count from one again: enqueued again in the replay window, or after a history was thrown away."""
    stale: int
    """Ends of runs that were refused because the lease was lost."""
    deaths: int
    left: int
    ack_gap_s: float
    run_gap_s: float
    longest_call_s: float
    fault_s: float
    """How long the fault lasted."""
    disordered: int = 0
    """Tasks that ran before one of their key whose enqueue had returned before theirs began."""

    @property
    def duplicates(self) -> int:
        """Runs beyond the first of each task."""
        return self.again + self.anew

    @property
    def recovery_s(self) -> float:
        """How long nothing was acknowledged, or nothing run, whichever was longer."""
        return max(self.ack_gap_s, self.run_gap_s)


@dataclass(frozen=True, slots=True)
class Promise:
    """What must hold in a case besides: nothing lost, no worker dies, every call ends in time, nothing is left behind."""

    ack_gap_s: float
    run_gap_s: float
    duplicates: int
    during: bool = False
    """Whether the gaps may last as long as the fault, and so much longer."""
    errors: frozenset[str] = field(default=frozenset())
    """Errors that producers may meet; each of them must occur."""
    most_refused: int | None = None
    """How many enqueues may raise; None: any number."""
    deadline_s: float = 20.0
    """How long a call may take before it must have ended with an error."""
    unreturned: bool = False
    """Whether calls may be left without an end, because the producer was killed."""


def judge(evidence: Evidence) -> Verdict:
    """Count and measure."""
    acks = {entry.facts[0]: entry for entry in evidence.producer if entry.event == "ack"}
    refusals = [entry for entry in evidence.producer if entry.event == "refused"]
    runs = sorted((e for entries in evidence.workers for e in entries if e.event == "run"), key=lambda run: run.at)
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for run in runs:
        if not run.facts[0].startswith("-"):  # of a call that was given up: nobody knows whether it was made
            by_task[run.facts[0]].append(run)
    again, anew = _duplicates(by_task.values())
    calls = [float(entry.facts[1]) for entry in (*acks.values(), *refusals)]
    last_ack = max((ack.at for ack in acks.values()), default=evidence.struck_at)
    due = [(some[0].at, acks[task].at + evidence.delay_s) for task, some in by_task.items() if task in acks]
    return Verdict(
        acked=len(acks),
        lost=len(acks.keys() - by_task.keys()),
        early=_early(by_task, evidence) if evidence.linked else 0,
        refused=Counter(entry.facts[2] for entry in refusals),
        unreturned=evidence.asked - len(acks) - len(refusals),
        degraded=sum(ack.facts[2] != evidence.level for ack in acks.values()),
        unconfirmed=sum(_is_in_silence(ack.at, *evidence.silence) for ack in acks.values()),
        again=again,
        anew=anew,
        stale=_counted("stale", evidence.workers),
        deaths=evidence.deaths,
        left=evidence.left,
        ack_gap_s=longest_gap([ack.at for ack in acks.values()], evidence.struck_at, last_ack),
        run_gap_s=longest_rest([run.at for run in runs], due, evidence.struck_at, last_ack + evidence.delay_s),
        longest_call_s=max(calls, default=0.0),
        fault_s=evidence.mended_at - evidence.struck_at,
        disordered=_disordered(acks, {task: some[0].at for task, some in by_task.items()}, evidence),
    )


def line_of(number: int, keyed: int, ordered: int) -> int | None:
    """The key by which a task is kept in order, if it has one."""
    has_own_id = keyed and number % keyed == 0
    return number % ordered if ordered and not has_own_id else None


def _disordered(acks: Mapping[str, Entry], ran: Mapping[str, float], evidence: Evidence) -> int:
    lines: dict[int, list[tuple[float, float, float]]] = defaultdict(list)  # begun, acknowledged, run
    for task, ack in acks.items():
        line = line_of(int(task), evidence.keyed, evidence.ordered)
        if line is not None and task in ran:
            lines[line].append((ack.at - float(ack.facts[1]), ack.at, ran[task]))
    return sum(
        any(acked < begun and ran_before > run for _, acked, ran_before in tasks)
        for tasks in lines.values()
        for begun, _, run in tasks
    )


def _early(by_task: Mapping[str, list[Entry]], evidence: Evidence) -> int:
    """Runs that began before any run of the task that they had to wait for was at its end."""
    prepared: dict[str, float] = {}
    for entry in chain.from_iterable(evidence.workers):
        if entry.event == "prepared":
            prepared[entry.facts[0]] = min(entry.at, prepared.get(entry.facts[0], entry.at))
    return sum(run.at < prepared.get(task, inf) for task, runs in by_task.items() for run in runs)


def _is_in_silence(moment: float, begin: float, end: float) -> bool:
    return begin + CONFIRMED_S + SLACK_S < moment < end


def longest_gap(moments: Iterable[float], since: float, until: float) -> float:
    """The longest time without a moment that begins in *since* .. *until*; what goes on after *until* is awaited too."""
    after = [since, *sorted(moment for moment in moments if moment > since)]
    if len(after) == 1:
        return max(until - since, 0.0)
    return max((later - earlier for earlier, later in pairwise(after) if earlier < until), default=0.0)


def longest_rest(runs: Iterable[float], due: Iterable[tuple[float, float]], since: float, until: float) -> float:
    """The longest time without a run, begun in *since* .. *until*, in which one was due.

    *due* holds for each task when it first ran and since when it could have.
    """
    firsts, oldest = [], []  # each first run from the last on, and the oldest due time of those after it
    for first_run, due_at in sorted(due, reverse=True):
        firsts.append(-first_run)
        oldest.append(min(due_at, oldest[-1] if oldest else due_at))
    after = [since, *sorted(moment for moment in runs if moment > since)]
    rests = [0.0]
    for earlier, later in pairwise(after):
        waiting = bisect_right(firsts, -later)  # so many tasks first ran then or afterwards
        if earlier < until and waiting:
            rests.append(later - max(earlier, oldest[waiting - 1]))
    return max(rests)


def _duplicates(tasks: Iterable[list[Entry]]) -> tuple[int, int]:
    """Runs under a further try, and runs under a try that the task has had already."""
    again = anew = 0
    for runs in tasks:
        tries = {run.facts[1] for run in runs}
        again += len(tries) - 1
        anew += len(runs) - len(tries)
    return again, anew


def _counted(name: str, workers: Sequence[Sequence[Entry]]) -> int:
    return sum(
        int(entry.facts[1])
        for entries in workers
        for entry in entries
        if entry.event == "counter" and entry.facts[0] == name
    )


def broken(verdict: Verdict, promise: Promise) -> list[str]:
    """The promises that were not kept, in words; none is the only success."""
    fault_s = verdict.fault_s if promise.during else 0.0
    problems = {
        f"{verdict.lost} acknowledged tasks never ran": verdict.lost,
        f"{verdict.early} tasks ran before what they had to wait for": verdict.early,
        f"{verdict.deaths} worker processes ended": verdict.deaths,
        f"{verdict.left} tasks were left in the queue": verdict.left,
        f"{verdict.disordered} tasks ran before earlier ones of their key": verdict.disordered,
        f"{verdict.unconfirmed} acknowledgements came while nobody could name the primary": verdict.unconfirmed,
        f"{verdict.unreturned} calls never ended": verdict.unreturned and not promise.unreturned,
        "nothing was acknowledged at all": not verdict.acked,
        f"a call took {verdict.longest_call_s:.1f} s": verdict.longest_call_s > promise.deadline_s + SLACK_S,
        f"{verdict.duplicates} runs too many, {promise.duplicates} are explained": verdict.duplicates
        > promise.duplicates,
        f"no acknowledgement for {verdict.ack_gap_s:.1f} s": verdict.ack_gap_s > promise.ack_gap_s + fault_s,
        f"no run for {verdict.run_gap_s:.1f} s": verdict.run_gap_s > promise.run_gap_s + fault_s,
    }
    unexpected = {name: count for name, count in verdict.refused.items() if name not in promise.errors}
    missing = promise.errors - verdict.refused.keys()
    refused, most = verdict.refused.total(), promise.most_refused
    problems[f"{refused} enqueues raised, {most} are explained"] = most is not None and refused > most
    problems[f"enqueues raised {unexpected}"] = bool(unexpected)
    problems[f"no enqueue raised {', '.join(sorted(missing))}: the fault was none"] = bool(missing)
    return [problem for problem, is_broken in problems.items() if is_broken]
