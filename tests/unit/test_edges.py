"""What becomes of a task follows from its edges and the ends of its parents, and from nothing else."""

from __future__ import annotations

import pytest

from secure_queue import ConfigurationError
from secure_queue.edges import (
    Decision,
    Edge,
    Fail,
    Fate,
    Go,
    On,
    Passes,
    Skip,
    Take,
    Wait,
    arguments,
    decide,
    edge_policy,
    read_children,
    spelled,
)

JTI = b"j" * 16
SUCCESS, FAILURE, END = (Edge(0, name, JTI, on) for name, on in zip("sfe", On, strict=True))
LENIENT = SUCCESS._replace(runs_if_gone=True)
INSTEAD = FAILURE._replace(passes=Passes.INSTEAD)
DONE, FAILED, ABORTED, GONE = Fate


@pytest.mark.parametrize(
    ("edge", "fate", "decision"),
    [
        (SUCCESS, None, Wait()),
        (SUCCESS, DONE, Go()),
        (SUCCESS, FAILED, Fail(SUCCESS, FAILED)),
        (SUCCESS, ABORTED, Skip(SUCCESS, ABORTED)),
        (SUCCESS, GONE, Fail(SUCCESS, GONE)),
        (LENIENT, GONE, Go()),
        (LENIENT, FAILED, Fail(LENIENT, FAILED)),
        (FAILURE, None, Wait()),
        (FAILURE, DONE, Skip(FAILURE, DONE)),
        (FAILURE, FAILED, Go()),
        (FAILURE, ABORTED, Skip(FAILURE, ABORTED)),
        (FAILURE, GONE, Fail(FAILURE, GONE)),
        (END, None, Wait()),
        (END, DONE, Go()),
        (END, FAILED, Go()),
        (END, ABORTED, Go()),
        (END, GONE, Fail(END, GONE)),
        (INSTEAD, DONE, Take(0)),
        (INSTEAD, FAILED, Go()),
        (INSTEAD, ABORTED, Skip(INSTEAD, ABORTED)),
        (INSTEAD, GONE, Fail(INSTEAD, GONE)),
    ],
)
def test_one_parent_decides(edge: Edge, fate: Fate | None, decision: Decision) -> None:
    found = decide([edge], [fate])
    assert (type(found), found) == (type(decision), decision)


@pytest.mark.parametrize(
    ("fates", "kind"),
    [
        ((DONE, DONE), Go),
        ((DONE, None), Wait),
        ((None, FAILED), Fail),
        ((ABORTED, None), Skip),
        ((ABORTED, FAILED), Fail),
        ((GONE, ABORTED), Fail),
    ],
)
def test_all_parents_must_let_it_run_and_one_that_cannot_decides_at_once(
    fates: tuple[Fate | None, ...], kind: type[Decision]
) -> None:
    assert type(decide([SUCCESS, SUCCESS], fates)) is kind


def test_a_fallback_takes_over_the_result_whatever_else_it_waits_for() -> None:
    assert decide([SUCCESS, INSTEAD], [None, DONE]) == Take(1)
    assert type(decide([SUCCESS, INSTEAD], [None, FAILED])) is Wait
    assert type(decide([SUCCESS, INSTEAD], [DONE, FAILED])) is Go


def test_values_come_before_the_own_arguments_and_tuples_are_unpacked() -> None:
    value, listed = SUCCESS._replace(passes=Passes.VALUE), SUCCESS._replace(passes=Passes.LISTED)
    assert arguments([SUCCESS, value, value], ["unused", (1, 2), [3]]) == [1, 2, [3]]
    assert arguments([listed, listed], [(1, 2), 3]) == [[(1, 2), 3]]
    assert arguments([SUCCESS], ["unused"]) == []


def test_children_come_back_and_what_is_none_is_passed_over() -> None:
    children = [(0, "a"), (63, "order:1")]
    assert read_children(spelled(children)) == [(0, b"a"), (63, b"order:1")]
    assert read_children(b"x\n:a\n64:a\n-1:a\n007:a\n0:\n0:\xff\n1:b c\n1:b") == [(1, b"b")]


@pytest.mark.parametrize(("on", "gone"), [("never", "fail"), ("success", "wait"), ("", "")])
def test_a_policy_that_is_none_is_refused(on: str, gone: str) -> None:
    with pytest.raises(ConfigurationError, match="use"):
        edge_policy(on, gone)
