"""Why a task does not run: every way of waiting has its reason, and there is always one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_queue.pausing import Pause
from secure_queue.reasons import Facts, LimitFacts, LineFacts, ProcessFacts, Why, explain
from secure_queue.tasks import TaskStatus

QUEUED = Facts(TaskStatus.QUEUED, fn_name="mail", priority="low", before=0, workers=1)
SCHEDULED = Facts(TaskStatus.SCHEDULED, fn_name="mail", priority="low", workers=1)
ABLE = ProcessFacts(frozenset({"mail"}), True)

CASES = {
    "gone": (Facts(TaskStatus.NOT_FOUND), [Why.NOT_FOUND], "nothing is stored of it"),
    "put aside": (Facts(TaskStatus.NOT_FOUND, problem="bad-signature"), [Why.PUT_ASIDE], "put aside: bad-signature"),
    "done": (Facts(TaskStatus.DONE, ending="done"), [Why.FINISHED], "finished: done"),
    "dead": (Facts(TaskStatus.FAILED, ending="ValueError: x"), [Why.DEAD], "a dead letter: ValueError: x"),
    "broken": (Facts(TaskStatus.QUEUED, problem="unknown-key"), [Why.BROKEN], "does not open: unknown-key"),
    "runs": (
        Facts(TaskStatus.RUNNING, worker="w1", tries=2, lease_left_s=12),
        [Why.RUNNING],
        "worker w1 has it (try 2); its lease holds for 12 s more",
    ),
    "lease over": (Facts(TaskStatus.RUNNING, worker="w1", lease_left_s=0), [Why.RUNNING], "its lease has run out"),
    "next": (QUEUED, [Why.NEXT], "nothing is in its way"),
    "expired": (replace(QUEUED, expires_left_s=-3), [Why.EXPIRED], "it has expired 3 s ago"),
    "queue paused": (replace(QUEUED, pauses=[Pause()]), [Why.PAUSED], "the queue is paused until it is resumed"),
    "task paused": (
        replace(SCHEDULED, due_left_s=5, pauses=[Pause(task="mail", left_s=9)]),
        [Why.PAUSED],
        "its task is paused for 9 s more",
    ),
    "priority paused": (replace(QUEUED, pauses=[Pause(priority="low")]), [Why.PAUSED], "its priority is paused"),
    "others paused": (replace(QUEUED, pauses=[Pause(priority="high"), Pause(task="other")]), [Why.NEXT], "nothing"),
    "parents": (
        replace(SCHEDULED, due_left_s=60, parents=[("a", TaskStatus.RUNNING), ("b", TaskStatus.DONE)]),
        [Why.PARENTS],
        "it waits for a (running)",
    ),
    "order": (
        replace(QUEUED, before=None, line=LineFacts(True, 2, "a1")),
        [Why.LINE],
        "2 of its key are before it, the first is a1; those of a key run one after the other",
    ),
    "turns": (replace(QUEUED, before=None, line=LineFacts(False, 8, "a1")), [Why.LINE], "keys take turns"),
    "permit": (
        replace(SCHEDULED, due_left_s=5, limit=LimitFacts(False, "at most 1 at once", 2, 3, 1, holders=("x",))),
        [Why.PERMIT],
        "at most 1 at once; 1 have it now (x); 2 of 3 are before it in the line",
    ),
    "rate": (
        replace(SCHEDULED, due_left_s=5, limit=LimitFacts(True, "at most 1 in 60 s", 0, 1, 1, left_s=4.2)),
        [Why.RATE],
        "at most 1 in 60 s may start; its turn is in about 4.2 s",
    ),
    "stalled": (
        replace(SCHEDULED, due_left_s=5, limit=LimitFacts(True, "at most 1 in 60 s", stalled_s=9)),
        [Why.RATE],
        "a task has said that nothing may start yet",
    ),
    "delayed": (replace(SCHEDULED, due_left_s=5, wanted_left_s=5), [Why.DELAYED], "5.0 s more: it was asked for so"),
    "retried": (replace(SCHEDULED, due_left_s=5, tries=1), [Why.DELAYED], "is to be repeated"),
    "nobody": (replace(QUEUED, workers=0), [Why.NO_WORKER], "no worker of this queue lives"),
    "no code": (replace(QUEUED, processes=[ProcessFacts(frozenset(), True)]), [Why.NO_CODE], "knows a task named"),
    "no key": (replace(QUEUED, processes=[replace(ABLE, has_key=False)]), [Why.NO_KEY], "holds the key"),
    "silent": (replace(QUEUED, processes=[ProcessFacts(None, True)]), [Why.NEXT], "nothing is in its way"),
    "behind": (
        replace(QUEUED, before=3, higher={"high": 2, "urgent": 0}),
        [Why.BEHIND],
        "behind 3 others of priority low and 2 of priority high",
    ),
    "far behind": (replace(QUEUED, before=None), [Why.BEHIND], "behind many others"),
    "replaced and gone": (
        Facts(TaskStatus.NOT_FOUND, replaced_by="newer"),
        [Why.REPLACED],
        "another call of its key has taken its place: newer",
    ),
    "replaced": (replace(SCHEDULED, replaced_by="newer", due_left_s=5), [Why.REPLACED], "newer"),
    "laid aside": (
        replace(QUEUED, before=None, is_shelved=True, pauses=[Pause()]),
        [Why.PAUSED],
        "until it is resumed",
    ),
    "several": (
        replace(QUEUED, workers=0, before=1, pauses=[Pause()]),
        [Why.PAUSED, Why.NO_WORKER, Why.BEHIND],
        "no worker",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_reason_for_each_way_of_waiting(case: str) -> None:
    facts, expected, text = CASES[case]
    found = explain("id", facts)
    assert [reason.why for reason in found.reasons] == expected
    assert text in str(found)


@given(
    st.sampled_from(TaskStatus),
    st.sampled_from(["", "bad-signature"]),
    st.floats(-9, 9),
    st.floats(-9, 9),
    st.integers(0, 2),
    st.none() | st.integers(0, 3),
)
def test_there_is_always_a_reason(
    status: TaskStatus, problem: str, due_s: float, expires_s: float, workers: int, before: int | None
) -> None:
    facts = replace(QUEUED, status=status, problem=problem, due_left_s=due_s, expires_left_s=expires_s)
    found = explain("id", replace(facts, workers=workers, before=before))
    assert found.reasons and all(reason.text for reason in found.reasons)
    assert len({reason.why for reason in found.reasons}) == len(found.reasons)
