"""``secure-queue doctor`` as people and scripts use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from secure_queue.doctor.checks import ALL
from tests.servers import Server, free_port
from tests.tour.blocks import ROOT, missing_targets

SECRET = "Zx4kQ9vT1bLw7RmY2cNd8HsJ5gPf0aUe3oXiVqB6KtE"
PAGE = ROOT / "docs" / "doctor.md"


def doctor(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SECURE_QUEUE_")}
    command = [sys.executable, "-W", "error", "-m", "secure_queue", "doctor", *words]
    return subprocess.run(command, cwd=ROOT, env=clean | environment, text=True, capture_output=True, timeout=50)


@pytest.mark.slow
def test_a_url_is_enough_and_the_report_is_one_json_object(real_server: Server) -> None:
    done = doctor(f"unix://{real_server.unix_path}", "--queue", "shop", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr, report["exit_code"]) == (1, "", 1)  # that server has no append-only file
    assert set(report) == {"deployment", "kind", "queue", "exit_code", "nodes", "answered", "levels", "findings"}
    assert (report["queue"], report["kind"], report["answered"]) == ("shop", "standalone", 1)
    by_check = {finding["check"]: finding for finding in report["findings"]}
    assert by_check["persistence"]["level"] == "fail"
    assert "appendonly yes" in by_check["persistence"]["fix"]
    assert by_check["rehearsal"]["level"] == "ok"
    assert by_check["keys"]["level"] == "unknown"  # no keys in the environment


@pytest.mark.slow
def test_a_worker_object_is_examined_with_its_keys_and_shown_as_a_table(server: Server) -> None:
    done = doctor(
        "tests.system.cli_app:worker", SECURE_QUEUE_URL=f"unix://{server.unix_path}", SECURE_QUEUE_KEYS=SECRET
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok  keys: what is stored opens with the configured keys" in done.stdout
    assert re.search(r"warn\s+│ memory", done.stdout)


@pytest.mark.slow
def test_what_cannot_be_checked_has_an_exit_code_of_its_own() -> None:
    away = doctor(f"redis://127.0.0.1:{free_port()}")
    assert away.returncode == 2
    assert "0 of 1 nodes answer" in away.stdout


def test_the_page_explains_every_check_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text("utf-8").split("## Checks")[1].split("## A user")[0], re.M)
    assert rows == [check.id for check in ALL]


def test_every_link_of_the_page_leads_somewhere() -> None:
    assert missing_targets(PAGE) == []
