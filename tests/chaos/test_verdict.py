"""The rules of the verdict: what counts as lost, as run twice, as a gap, and which promise that breaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.case import NOTHING
from tests.chaos.ledger import Entry, Ledger, Reader
from tests.chaos.verdict import Promise, Verdict, broken, judge, longest_gap, longest_rest

CALM = Promise(ack_gap_s=1, run_gap_s=1, duplicates=0)
GOOD = Verdict(
    acked=3,
    lost=0,
    early=0,
    refused=Counter(),
    unreturned=0,
    degraded=0,
    unconfirmed=0,
    again=0,
    anew=0,
    stale=0,
    deaths=0,
    left=0,
    ack_gap_s=0.1,
    run_gap_s=0.1,
    longest_call_s=0.1,
    fault_s=4.0,
)


def ack(number: int, at: float, took: float = 0.01, level: str = "replicated") -> Entry:
    return Entry("ack", at, (str(number), str(took), level))


def run(number: int, at: float, tries: int = 1) -> Entry:
    return Entry("run", at, (str(number), str(tries)))


def judged(acks: list[Entry], *workers: list[Entry], **facts: object) -> Verdict:
    told = {"producer": acks, "workers": workers, "asked": len(acks), "level": "replicated"} | facts
    return judge(replace(NOTHING, **told))  # type: ignore[arg-type]


def test_what_is_acknowledged_and_never_ran_is_lost() -> None:
    verdict = judged([ack(1, 1), ack(2, 2)], [run(1, 1.1)], [run(3, 3)])
    assert (verdict.acked, verdict.lost) == (2, 1)
    assert broken(verdict, replace(CALM, ack_gap_s=9, run_gap_s=9)) == ["1 acknowledged tasks never ran"]


def test_what_ran_before_the_task_it_waits_for_is_early() -> None:
    prepared = [Entry("prepared", at, (str(number),)) for number, at in ((1, 0.9), (2, 2.1), (1, 5.0))]
    runs = [run(1, 1), run(2, 2), run(3, 3)]
    verdict = judged([ack(1, 1), ack(2, 1), ack(3, 1)], [*runs, *prepared], linked=True)
    assert verdict.early == 2
    assert broken(verdict, replace(CALM, ack_gap_s=9, run_gap_s=9)) == ["2 tasks ran before what they had to wait for"]
    assert judged([ack(1, 1)], runs).early == 0


def test_a_task_that_runs_before_an_earlier_one_of_its_key_is_told() -> None:
    acks = [ack(1, 1), ack(2, 2), ack(3, 3), ack(4, 3.005, took=0.1)]
    runs = [run(2, 4), run(1, 5), run(4, 5), run(3, 6)]  # 4 began before 3 was acknowledged
    verdict = judged(acks, runs, ordered=1)
    assert verdict.disordered == 1
    assert "1 tasks ran before earlier ones of their key" in broken(verdict, CALM)
    assert judged(acks, runs, keyed=1, ordered=1).disordered == judged(acks, runs, ordered=9).disordered == 0


def test_further_runs_are_told_apart_by_their_tries() -> None:
    verdict = judged([ack(1, 1), ack(2, 1)], [run(1, 1), run(2, 1)], [run(1, 2, tries=2), run(2, 3), run(2, 4)])
    assert (verdict.again, verdict.anew, verdict.duplicates) == (1, 2, 3)


def test_a_worker_that_comes_back_late_ran_the_earlier_try() -> None:
    verdict = judged([ack(1, 1)], [run(1, 3, tries=1)], [run(1, 2, tries=2)])
    assert (verdict.again, verdict.anew) == (1, 0)


def test_calls_that_were_given_up_count_for_nothing() -> None:
    assert judged([ack(1, 1)], [run(1, 1), run(-1, 2), run(-1, 3)]).duplicates == 0


def test_refusals_are_counted_by_name_and_calls_without_an_end_too() -> None:
    refused = Entry("refused", 2, ("2", "20.5", "Unavailable"))
    verdict = judged([ack(1, 1), refused], [run(1, 1)], asked=5)
    assert (verdict.refused, verdict.unreturned, verdict.longest_call_s) == ({"Unavailable": 1}, 3, 20.5)


def test_acknowledgements_at_a_lower_level_are_counted() -> None:
    verdict = judged([ack(1, 1), ack(2, 2, level="primary")], [run(1, 1), run(2, 2)])
    assert (verdict.acked, verdict.degraded) == (2, 1)


def test_acknowledgements_in_a_long_silence_are_not_to_be_believed() -> None:
    verdict = judged([ack(1, 11), ack(2, 16), ack(3, 18), ack(4, 21)], [], silence=(10, 20))
    assert verdict.unconfirmed == 1


def test_refused_ends_of_all_workers_are_added_up() -> None:
    counters = [Entry("counter", 9, ("stale", "2")), Entry("counter", 9, ("completed", "7"))]
    assert judged([], counters, counters).stale == 4


@pytest.mark.parametrize(
    ("moments", "since", "until", "gap"),
    [
        ([1, 2, 3], 0, 3, 1),
        ([0.5, 4, 4.5], 0, 4.5, 3.5),  # the outage
        ([1, 1.5, 9], 0, 2, 7.5),  # one that began before the end is measured to its end
        ([1, 2, 9], 0, 2, 1),  # what begins at the end is none
        ([1], 2, 6, 4),  # nothing came back
        ([], 3, 3, 0),
    ],
)
def test_a_gap_is_measured_from_the_fault_to_what_comes_back(
    moments: list[float], since: float, until: float, gap: float
) -> None:
    assert longest_gap(moments, since, until) == gap


@pytest.mark.parametrize(
    ("runs", "due", "since", "until", "rest"),
    [
        ([1, 6], [(1, 0.9), (6, 2)], 0, 9, 4),  # due at 2, after the run at 1
        ([1, 6], [(1, 0.9), (6, 0.5)], 0.5, 9, 5),  # due all the time
        ([1, 6], [(1, 0.9), (6, 5.9)], 0, 9, pytest.approx(0.1)),  # nothing to do until then
        ([1, 6], [(1, 0.9), (6, 2)], 0, 1, pytest.approx(0.1)),  # a rest that begins after the load is none
        ([1, 3, 6], [(1, 0.9), (6, 0.5)], 0.5, 9, 3),  # a duplicate is a run too
        ([5], [(5, 1)], 2, 9, 3),  # from the fault on
        ([], [], 2, 9, 0),
    ],
    ids=["due later", "due before", "idle", "after the load", "duplicate", "since the fault", "nothing"],
)
def test_a_rest_counts_while_a_task_is_due(
    runs: list[float], due: list[tuple[float, float]], since: float, until: float, rest: object
) -> None:
    assert longest_rest(runs, due, since, until) == rest


def test_delayed_tasks_are_not_missed_before_they_are_due() -> None:
    verdict = judged([ack(1, 1), ack(2, 2)], [run(1, 16.1), run(2, 17.3)], delay_s=15, struck_at=1.5)
    assert verdict.run_gap_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lost": 1}, "never ran"),
        ({"deaths": 1}, "worker processes ended"),
        ({"left": 1}, "left in the queue"),
        ({"unconfirmed": 1}, "nobody could name the primary"),
        ({"unreturned": 1}, "never ended"),
        ({"acked": 0}, "nothing was acknowledged"),
        ({"longest_call_s": 23.0}, "a call took 23.0 s"),
        ({"again": 1}, "runs too many"),
        ({"anew": 1}, "runs too many"),
        ({"ack_gap_s": 1.1}, "no acknowledgement for 1.1 s"),
        ({"run_gap_s": 1.1}, "no run for 1.1 s"),
        ({"refused": Counter({"Unavailable": 2})}, "Unavailable"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_promise_can_be_broken(change: dict[str, object], problem: str) -> None:
    assert broken(GOOD, CALM) == []
    (said,) = broken(replace(GOOD, **change), CALM)  # type: ignore[arg-type]
    assert problem in said


def test_an_expected_error_must_occur() -> None:
    expecting = replace(CALM, errors=frozenset({"Backpressure"}))
    assert broken(replace(GOOD, refused=Counter({"Backpressure": 4})), expecting) == []
    (said,) = broken(GOOD, expecting)
    assert "the fault was none" in said


def test_gaps_may_last_as_long_as_a_fault_for_which_that_is_said() -> None:
    verdict = replace(GOOD, ack_gap_s=4.9, run_gap_s=4.9)
    assert len(broken(verdict, CALM)) == 2
    assert broken(verdict, replace(CALM, during=True)) == []
    assert len(broken(replace(verdict, run_gap_s=5.1), replace(CALM, during=True))) == 1


def test_not_too_many_enqueues_may_raise() -> None:
    some = replace(CALM, errors=frozenset({"Unavailable"}), most_refused=3)
    assert broken(replace(GOOD, refused=Counter({"Unavailable": 3})), some) == []
    (said,) = broken(replace(GOOD, refused=Counter({"Unavailable": 4})), some)
    assert "4 enqueues raised, 3 are explained" in said


def test_a_producer_that_was_killed_may_leave_calls_without_an_end() -> None:
    assert broken(replace(GOOD, unreturned=9), replace(CALM, unreturned=True)) == []


def test_a_ledger_is_followed_line_by_line(tmp_path: Path) -> None:
    ledger, reader = Ledger(tmp_path / "ledger"), Reader(tmp_path / "ledger")
    assert not reader.has("run")
    ledger.note("run", 7, 1)
    with (tmp_path / "ledger").open("ab") as file:
        file.write(b"run 12.5")  # a process was killed in the middle
        file.flush()
        assert [entry.facts for entry in reader.refresh()] == [("7", "1")]
        file.write(b" 8 2\n")
    assert reader.refresh()[1:] == [Entry("run", 12.5, ("8", "2"))]
    assert reader.count("run") == 2
    ledger.close()
