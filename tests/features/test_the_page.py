"""``docs/features.md`` names every test of this folder, and no other; each begins with the promise that it tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.tour.blocks import ROOT, missing_targets

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "features.md"
TESTS = sorted(HERE.glob("*/test_*.py"))
LISTED = re.compile(r"\[(test_\w+)\]\(\.\./tests/features/(\w+)/(test_\w+)\.py\)")


def test_the_page_lists_each_test_once_and_no_other() -> None:
    listed = LISTED.findall(PAGE.read_text("utf-8"))
    assert all(name == file for name, _, file in listed)
    assert sorted(HERE / source / f"{file}.py" for _, source, file in listed) == TESTS
    assert missing_targets(PAGE) == []


def test_every_row_of_the_page_has_a_test() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    headings = [row for row in rows if row.endswith("| test |")]
    assert len(rows) - len(headings) == len(TESTS)


def test_each_file_begins_with_its_promise_and_tests_it() -> None:
    for path in TESTS:
        module = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(module), path
        assert [node for node in module.body if getattr(node, "name", "").startswith("test_")], path
