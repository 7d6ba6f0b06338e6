"""``secure-queue doctor`` as people and scripts use it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from secure_queue.doctor.checks import ALL
from tests.servers import Server, free_port
from tests.system.shell import as_a_process, exit_code
from tests.tour.blocks import ROOT, missing_targets

SECRET = "Zx4kQ9vT1bLw7RmY2cNd8HsJ5gPf0aUe3oXiVqB6KtE"
PAGE = ROOT / "docs" / "doctor.md"


class Doctor:
    """The command in this process; its exit code, what it printed, and what it told beside that."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys

    def __call__(self, *words: str, **environment: str) -> tuple[object, str, str]:
        with as_a_process(self._folder, environment):
            code = exit_code("doctor", *words)
        return code, *self._capsys.readouterr()


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


def test_a_url_is_enough_and_the_report_is_one_json_object(doctor: Doctor, real_server: Server) -> None:
    code, out, err = doctor(f"unix://{real_server.unix_path}", "--queue", "shop", "--json")
    report = json.loads(out)
    assert (code, err, report["exit_code"]) == (1, "", 1)  # that server has no append-only file
    assert set(report) == {"deployment", "kind", "queue", "exit_code", "nodes", "answered", "levels", "findings"}
    assert (report["queue"], report["kind"], report["answered"]) == ("shop", "standalone", 1)
    by_check = {finding["check"]: finding for finding in report["findings"]}
    assert by_check["persistence"]["level"] == "fail"
    assert "appendonly yes" in by_check["persistence"]["fix"]
    assert by_check["rehearsal"]["level"] == "ok"
    assert by_check["keys"]["level"] == "unknown"  # no keys in the environment


def test_a_worker_object_is_examined_with_its_keys_and_shown_as_a_table(doctor: Doctor, server: Server) -> None:
    code, out, err = doctor(
        "tests.system.cli_app:worker", SECURE_QUEUE_URL=f"unix://{server.unix_path}", SECURE_QUEUE_KEYS=SECRET
    )
    assert (code, err) == (0, "")
    assert "ok  keys: what is stored opens with the configured keys" in out
    assert re.search(r"warn\s+│ memory", out)


def test_what_cannot_be_checked_has_an_exit_code_of_its_own(doctor: Doctor) -> None:
    code, out, _ = doctor(f"redis://127.0.0.1:{free_port()}")
    assert code == 2
    assert "0 of 1 nodes answer" in out


def test_the_page_explains_every_check_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text("utf-8").split("## Checks")[1].split("## A user")[0], re.M)
    assert rows == [check.id for check in ALL]


def test_every_link_of_the_page_leads_somewhere() -> None:
    assert missing_targets(PAGE) == []
