"""Every Python block of the guide and its neighbours is run as it is printed on a real server, the guide's in memory too.

A block is a whole program that takes its server from the environment, as the page tells its reader to do. Each line that
ends in ``# prints: …`` must have printed exactly that, in the order of the page, and nothing else may be printed.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from secure_queue.settings import KEYS_FILE_VARIABLE, KEYS_VARIABLE, URL_VARIABLE
from tests.servers import Server
from tests.tour.blocks import ROOT, Block, blocks_of, missing_targets

GUIDE = ROOT / "docs" / "guide.md"
SECRET = "Zx4kQ9vT1bLw7RmY2cNd8HsJ5gPf0aUe3oXiVqB6KtE"
PROMISE = re.compile(r"# prints: (.*)")
NEIGHBOURS = [
    *("scheduling", "workflows", "composition", "control", "running", "audit"),
    *("from-streaq", "from-saq", "from-arq", "from-repid"),
]
PAGES = [GUIDE, *(ROOT / "docs" / f"{page}.md" for page in NEIGHBOURS)]
PROGRAMS = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]
OF_THE_GUIDE = [block for block in blocks_of(GUIDE) if block.language == "python"]


def name(block: Block) -> str:
    return f"{block.heading}:{block.line}".replace(" ", "-").replace("`", "")


@pytest.fixture
def place(where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment say where the queue is."""
    for variable in (URL_VARIABLE, KEYS_VARIABLE, KEYS_FILE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    if where == "memory":
        monkeypatch.setenv(URL_VARIABLE, "memory://")
        return
    server: Server = request.getfixturevalue("real_server")
    server.command("FLUSHALL")
    monkeypatch.setenv(URL_VARIABLE, f"unix://{server.unix_path}")
    monkeypatch.setenv(KEYS_VARIABLE, SECRET)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("block", "where"),
    [
        *(pytest.param(block, "memory", id=f"{name(block)}-memory") for block in OF_THE_GUIDE),
        *(pytest.param(block, "server", id=f"{name(block)}-server") for block in PROGRAMS),
    ],
)
def test_a_program_prints_what_the_guide_says(
    block: Block, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "example.py"
    program.write_text("\n" * (block.line - 1) + block.text, "utf-8")  # line numbers in a traceback are the page's
    runpy.run_path(str(program), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == PROMISE.findall(block.text)


def test_every_print_in_the_guide_says_what_it_prints() -> None:
    silent = [
        f"line {block.line + number}: {line.strip()}"
        for block in PROGRAMS
        for number, line in enumerate(block.text.splitlines())
        if line.strip().startswith("print(") and not PROMISE.search(line)
    ]
    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_the_guide_leads_somewhere(page: Path) -> None:
    assert missing_targets(page) == []


def test_every_entry_of_the_table_of_contents_is_a_heading() -> None:
    text = GUIDE.read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == anchors
