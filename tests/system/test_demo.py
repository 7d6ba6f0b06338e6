"""The demo as a user starts it: a process of its own on a folder of real files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from secure_queue.audit.findings import Code, Finding, Kind, Severity
from secure_queue.audit.report import AuditReport
from secure_queue.demo.attack import Forgery, malicious_pickle
from secure_queue.demo.audits import problems_after, problems_before
from secure_queue.demo.files import collect
from secure_queue.demo.outage import Loss
from secure_queue.demo.outage import problems_of as outage_problems
from secure_queue.demo.tasks import FileFacts, facts_of
from secure_queue.demo.trial import CONTROL, Outcome, problems_of
from secure_queue.errors import ConfigurationError
from tests.servers import PATIENCE, wait_until

FILES = 12
ROOT = Path(__file__).parents[2]
START = [sys.executable, "-m", "secure_queue", "demo"]
REASONS = {"one": "bad-signature", "two": "wrong-task"}
FORGERIES = (
    Forgery("flipped bit", "", ("one",), "bad-signature"),
    Forgery("swapped payload", "", ("two",), "wrong-task"),
)
GENUINE = {"flipped": "one", CONTROL: "three"}
GOOD = Outcome(REASONS, {CONTROL: "three"}, GENUINE, neighbours_well=True, still_working=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few real files, and some things that are no input."""
    place = tmp_path / "input"
    (place / "deep er").mkdir(parents=True)
    for number in range(FILES - 1):
        (place / f"file-{number}.txt").write_text("a line\n" * number)
    (place / "deep er" / "[bold]é'\x1b[31m.bin").write_bytes(bytes(range(256)) * 5000)
    (place / "link").symlink_to(place / "file-1.txt")
    os.mkfifo(place / "fifo")
    for left_out in ("site-packages", "__pycache__"):
        (place / left_out).mkdir()
        (place / left_out / "other.txt").touch()
    return place


def demo(*words: str | Path, scratch: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end; whatever it puts into a temporary folder goes into *scratch*."""
    environment = os.environ | {"TMPDIR": str(scratch)} | variables
    return subprocess.run(
        [*START, *map(str, words)], capture_output=True, text=True, env=environment, timeout=150, check=False
    )


def users_of(place: Path) -> list[psutil.Process]:
    """The processes whose command line names something in *place*."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(place) in word for word in process.info["cmdline"] or ())
    ]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """The temporary folder of the demo; it must be empty afterwards, and nobody may still use it."""
    place = Path(tempfile.mkdtemp(prefix="sqt-", dir="/tmp"))  # short, because a socket goes into it
    try:
        yield place
        assert list(place.iterdir()) == []
        assert users_of(place) == []
    finally:
        shutil.rmtree(place)


def test_the_demo_does_the_job_names_all_forgeries_and_leaves_nothing_behind(folder: Path, scratch: Path) -> None:
    ended = demo(folder, scratch=scratch)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.rstrip().splitlines()[-1].startswith("OK: ")
    assert f"{FILES} of {FILES} results equal a direct computation" in ended.stdout
    for word in ("forged pickle", "flipped bit", "swapped payload", "not-an-envelope", "bad-signature", "wrong-task"):
        assert word in ended.stdout
    for word in ("unsigned", "moved", "os.system"):
        assert word in ended.stdout, "what the audit calls them"
    assert "no forged task has run" in ended.stdout
    assert "\x1b" not in ended.stdout, "plain lines where there is no terminal"
    assert ended.stderr == ""


def test_json_is_one_object_with_the_figures(folder: Path, scratch: Path) -> None:
    ended = demo(folder, "--json", "--limit", "5", "--processes", "1", scratch=scratch)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["files"], summary["verified"], summary["problems"]) == (5, 5, [])
    assert sorted(summary["refused"]) == ["bad-signature", "not-an-envelope", "wrong-task", "wrong-task"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("topology", ["sentinel", "cluster"])
def test_nothing_is_lost_when_the_primary_is_killed_in_the_middle(topology: str, folder: Path, scratch: Path) -> None:
    ended = demo(folder, "--json", "--topology", topology, scratch=scratch)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = json.loads(ended.stdout)
    assert (summary["topology"], summary["verified"], summary["problems"]) == (topology, FILES, [])
    assert summary["killed"] and summary["successor"] and summary["killed"] != summary["successor"]
    assert len(summary["refused"]) == 4, "the forgeries are tried on the new primary"


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (Loss("one", "one", 6, 6, 0.1), "no other server has taken the place of one"),
        (Loss("one", "two", 6, 0, 0.1), "nothing was enqueued into the outage"),
    ],
)
def test_an_outage_that_proves_nothing_is_a_problem(loss: Loss, problem: str) -> None:
    [found] = outage_problems(loss)
    assert problem in found
    assert outage_problems(replace(loss, successor="two", enqueued_after=6)) == []


def test_one_file_is_too_few_for_an_outage(folder: Path, scratch: Path) -> None:
    ended = demo(folder, "--limit", "1", "--topology", "sentinel", scratch=scratch)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "name another folder" in ended.stderr


def test_a_file_that_changes_meanwhile_is_a_failure(folder: Path, scratch: Path) -> None:
    with changing(folder / "file-7.txt"):
        ended = demo(folder, scratch=scratch)
    assert ended.returncode == 1
    assert f"FAILED: 1 of {FILES} results differ from a direct computation" in ended.stdout
    assert "OK: " not in ended.stdout


@contextmanager
def changing(file: Path) -> Iterator[None]:
    """Give *file* a new content all the time, in one step each, always of the same size."""
    done = threading.Event()

    def change() -> None:
        number = 0
        with file.open("r+b", buffering=0) as opened:
            while not done.wait(0.001):
                number += 1
                os.pwrite(opened.fileno(), b"%012d\n" % number, 0)

    writer = threading.Thread(target=change)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def test_a_library_that_compares_no_signatures_is_found_out(folder: Path, scratch: Path, tmp_path: Path) -> None:
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(
        "import secure_queue.payload.ciphers as ciphers\nciphers.compare_digest = lambda one, other: True\n"
    )
    ended = demo(folder, scratch=scratch, PYTHONPATH=f"{patch}{os.pathsep}{ROOT}")
    assert ended.returncode == 1
    assert "FAILED: the audit did not call task" in ended.stdout
    assert "FAILED: a forged task has run: it left a trace" in ended.stdout
    assert "OK: " not in ended.stdout


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_input_is_one_line_and_exit_code_2(name: str, tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = demo(tmp_path / name, scratch=scratch)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert name in ended.stderr


def test_a_server_that_does_not_start_is_a_failure_with_its_reason(folder: Path, scratch: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    ended = demo(folder, scratch=scratch, PATH=f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
    assert ended.returncode == 1
    assert "FAILED: the embedded server did not start" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.fixture
def large_folder(folder: Path) -> Path:
    """So many files that something can happen meanwhile."""
    for number in range(3000):
        (folder / f"more-{number}").write_bytes(b"x" * 50_000)
    return folder


@contextmanager
def running_demo(folder: Path, scratch: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """The demo and its two worker processes, which have just been started."""
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen([*START, str(folder)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: len(crew_of(scratch)) == 2)
            yield process, crew_of(scratch)
        finally:
            process.kill()


def crew_of(scratch: Path) -> list[psutil.Process]:
    """The worker processes of the demo."""
    return [user for user in users_of(scratch) if "secure_queue.demo.crew" in user.info["cmdline"]]


def test_a_killed_demo_leaves_no_server_and_no_worker(large_folder: Path, tmp_path: Path) -> None:
    with running_demo(large_folder, tmp_path) as (process, _):
        process.kill()
    wait_until(lambda: not users_of(tmp_path))


def test_an_interrupted_demo_leaves_nothing_at_all(large_folder: Path, scratch: Path) -> None:
    with running_demo(large_folder, scratch) as (process, _):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130


def test_a_killed_worker_ends_the_demo_at_once(large_folder: Path, scratch: Path) -> None:
    with running_demo(large_folder, scratch) as (process, crew):
        crew[0].kill()
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "FAILED: a worker process ended with code -9" in output


def test_the_pickle_of_the_attack_is_a_working_one(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(malicious_pickle(f"touch '{marker}'"))
    assert marker.exists(), "a forgery that would do no harm proves nothing"


def test_input_is_regular_files_in_a_lasting_order(folder: Path) -> None:
    names = [path.name for path in collect(folder, None)]
    assert len(names) == FILES
    assert names[:3] == ["file-0.txt", "file-1.txt", "file-10.txt"]
    assert collect(folder, 4) == collect(folder, None)[:4]
    with pytest.raises(ConfigurationError):
        collect(folder / "site-packages" / "nothing", None)


def test_the_facts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one\ntwo")
    assert facts_of(file) == FileFacts("21066d108d5319ecb5a1fc4454f42ef22fc5f1c7df49c31d90294950e0ea8b2c", 7, 2)


def test_nothing_speaks_against_a_good_outcome() -> None:
    assert problems_of(FORGERIES, GOOD) == []


def test_a_victim_that_a_failover_brought_back_as_it_was_is_no_forgery() -> None:
    assert problems_of(FORGERIES, replace(GOOD, traces=GENUINE)) == []


@pytest.mark.parametrize(
    "outcome",
    [
        replace(GOOD, reasons=REASONS | {"one": "wrong-task"}),
        replace(GOOD, reasons={"one": "bad-signature"}),
        replace(GOOD, traces={CONTROL: "three", "pickle": ""}),
        replace(GOOD, traces={CONTROL: "three", "flipped": "two"}),
        replace(GOOD, traces={}),
        replace(GOOD, neighbours_well=False),
        replace(GOOD, still_working=False),
    ],
)
def test_whatever_is_not_good_is_a_problem(outcome: Outcome) -> None:
    assert len(problems_of(FORGERIES, outcome)) == 1


def report_of(*findings: Finding) -> AuditReport:
    """A report with these findings."""
    report = AuditReport("demo", 0, {})
    for finding in findings:
        report.add(finding)
    return report


FLIPPED = Finding(Code.BAD_SIGNATURE, Severity.CRITICAL, Kind.TASK, "one")
SWAPPED = Finding(Code.MOVED, Severity.CRITICAL, Kind.TASK, "two")
ASIDE = tuple(replace(finding, kind=Kind.QUARANTINED, severity=Severity.WARNING) for finding in (FLIPPED, SWAPPED))


def test_nothing_speaks_against_good_audits() -> None:
    assert problems_before(FORGERIES, report_of(FLIPPED, SWAPPED)) == []
    assert problems_after(FORGERIES, report_of(*ASIDE)) == []


def test_an_audit_that_misses_or_miscalls_a_forgery_or_suspects_the_innocent_is_a_problem() -> None:
    assert len(problems_before(FORGERIES, report_of(SWAPPED))) == 1
    assert len(problems_before(FORGERIES, report_of(replace(FLIPPED, code=Code.UNSIGNED), SWAPPED))) == 2
    assert len(problems_before(FORGERIES, report_of(FLIPPED, SWAPPED, replace(SWAPPED, id="three")))) == 1


def test_a_forgery_that_is_not_in_quarantine_or_still_elsewhere_is_a_problem() -> None:
    assert len(problems_after(FORGERIES, report_of(ASIDE[0]))) == 1
    assert len(problems_after(FORGERIES, report_of(*ASIDE, SWAPPED))) == 1
