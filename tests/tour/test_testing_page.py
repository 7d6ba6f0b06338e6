"""The files of the page about testing make one project, and its tests pass as they are printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tour.blocks import ROOT, blocks_of, missing_targets

pytestmark = pytest.mark.timeout(180)  # a process with a dozen tests

PAGE = ROOT / "docs" / "testing.md"


def test_the_project_of_the_page_passes_its_tests(tmp_path: Path) -> None:
    tests = 0
    for block in blocks_of(PAGE):
        if block.language == "python":
            name = block.text.partition("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(block.text, "utf-8")
            tests += block.text.count("def test_")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run([*command, "--rootdir", str(tmp_path), str(tmp_path)], capture_output=True, text=True)
    assert f"\n{tests} passed" in done.stdout, done.stdout + done.stderr
    assert tests > 8


def test_every_link_leads_somewhere() -> None:
    assert missing_targets(PAGE) == []
