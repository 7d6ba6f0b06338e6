"""The program of the durability page is run as it is printed, on a Sentinel group."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from secure_queue.local.groups import SentinelGroup
from secure_queue.settings import KEYS_FILE_VARIABLE, KEYS_VARIABLE, URL_VARIABLE
from tests.tour.blocks import ROOT, blocks_of, missing_targets
from tests.worker.places import SECRET

PAGE = ROOT / "docs" / "durability.md"


def test_the_program_prints_the_levels_that_were_met(
    real_sentinels: SentinelGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(URL_VARIABLE, real_sentinels.url)
    monkeypatch.setenv(KEYS_VARIABLE, SECRET)
    monkeypatch.delenv(KEYS_FILE_VARIABLE, raising=False)
    (program,) = (block for block in blocks_of(PAGE) if block.language == "python")
    file = tmp_path / "example.py"
    file.write_text(program.text, "utf-8")
    runpy.run_path(str(file), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == re.findall(r"# prints: (.*)", program.text)


def test_every_link_leads_somewhere() -> None:
    assert missing_targets(PAGE) == []
    text = PAGE.read_text("utf-8")
    headings = {heading.lower().replace(" ", "-").replace(":", "") for heading in re.findall(r"^## (.*)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
