"""What ``make chaos`` prints for machines and for people, and when it says that a promise was broken."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.__main__ import _chosen, _parse, main
from tests.chaos.case import NOTHING, Case, Fault, Outcome, Scene
from tests.chaos.verdict import Promise, judge


async def strike(scene: Scene) -> None:
    """Harm nobody."""


CASE = Case(1, "primary killed", "sentinel", "replicated", Fault("kill -9", strike), Promise(5, 5, 40))
VERDICT = replace(judge(NOTHING), acked=1000, again=2, anew=1, ack_gap_s=2.345, refused=Counter({"Unavailable": 3}))
KEPT = Outcome(CASE, VERDICT, [], 20.0, None)
BROKEN = Outcome(CASE, replace(VERDICT, lost=7), ["7 acknowledged tasks never ran"], 20.0, Path("/logs"))


def test_a_row_for_machines_has_what_was_promised_of_it() -> None:
    told = json.loads(json.dumps(report.as_json([KEPT], {32: "not built"}, {"server": "7.0.15"})))
    (row,) = told["rows"]
    wanted = {"row": 1, "fault": "kill -9", "topology": "sentinel", "durability": "replicated", "acked": 1000}
    wanted |= {"lost": 0, "duplicates": 3, "worker_deaths": 0, "recovery_s": 2.35, "broken": []}
    assert wanted.items() <= row.items()
    assert (told["server"], told["kept"], told["not_run"]) == ("7.0.15", True, [{"row": 32, "reason": "not built"}])


def test_one_broken_promise_breaks_the_whole() -> None:
    told = report.as_json([KEPT, BROKEN], {}, {})
    assert told["kept"] is False
    assert [row["broken"] for row in told["rows"]] == [[], BROKEN.broken]


def test_the_table_and_the_progress_tell_what_was_broken(capsys: pytest.CaptureFixture[str]) -> None:
    report.show([KEPT, BROKEN], {32: "not built"}, {"server": "7.0.15"})
    shown = capsys.readouterr().out
    assert "7 acknowledged tasks never ran" in shown
    assert "row 32 has not run: not built" in shown
    assert report.line(KEPT).startswith("kept ")
    assert report.line(BROKEN).startswith("BROKEN") and "/logs" in report.line(BROKEN)


def test_one_topology_can_be_played_alone() -> None:
    cases, not_run = _chosen(_parse(["--rows", "18,19", "--topology", "cluster"]))
    assert [(case.row, case.topology) for case in cases] == [(18, "cluster"), (19, "cluster")]
    assert not_run == {}
    assert [case.topology for case in _chosen(_parse(["--soak", "--topology", "sentinel"]))[0]] == ["sentinel"]


@pytest.mark.parametrize("words", [["--rows", "99"], ["--rows", "one"], ["--soak", "--minutes", "0"]], ids=" ".join)
def test_wrong_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err
