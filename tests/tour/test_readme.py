"""The README as a stranger meets it: the program and the commands as printed, in processes of their own.

Only two things are changed: the folder in the program's URL is one of this test, so that two runs do not meet, and
``secure-queue`` and ``python`` become this interpreter with this checkout, whether that is installed or not.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from tomllib import loads
from typing import Any
from uuid import UUID, uuid4

import anyio
import psutil
import pytest
from typer.testing import CliRunner

from secure_queue import Worker
from secure_queue.cli import app
from secure_queue.settings import KEYS_FILE_VARIABLE, KEYS_VARIABLE, URL_VARIABLE
from tests.servers import PATIENCE, wait_until
from tests.tour.blocks import ROOT, Block, blocks_of, missing_targets
from tests.tour.test_guide import PAGES

README = ROOT / "README.md"
COMMANDS = [page for page in sorted(ROOT.glob("docs/*.md")) if "\n$ secure-queue " in page.read_text("utf-8")]
FOLDER = "/tmp/hello-queue"
SECTION = "A program of ten lines"
# As an installed script, `secure-queue` finds the package but not what lies in the current folder; -P is the same.
WORDS = {
    "secure-queue": [sys.executable, "-W", "error", "-P", "-m", "secure_queue"],
    "python": [sys.executable, "-W", "error"],
}
TARGET = re.compile(r"([a-z-]+):")


def block(language: str, *, containing: str) -> Block:
    """The one block of the README with this text."""
    [found] = [one for one in blocks_of(README) if one.language == language and containing in one.text]
    return found


PROGRAM = block("python", containing=FOLDER)
SESSION = block("console", containing="run app:worker\n")


def words_of(command: str) -> list[str]:
    first, *rest = shlex.split(command)
    return [*WORDS[first], *rest]


def environment() -> dict[str, str]:
    """A fresh shell: no variable of the library is set."""
    ours = (URL_VARIABLE, KEYS_VARIABLE, KEYS_FILE_VARIABLE)
    return {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder, as a unix socket needs; whoever still works in it at the end is a failure, and is ended."""
    with tempfile.TemporaryDirectory(prefix="sqt-", dir="/tmp") as name:
        try:
            yield Path(name)
            wait_until(lambda: users_of(name) == [])
        finally:
            for process in users_of(name):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def users_of(folder: str) -> list[psutil.Process]:
    """The processes that name *folder* on their command line, as the server and its keeper do."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(folder in word for word in process.info["cmdline"] or ())
    ]


def test_the_program_has_ten_lines() -> None:
    assert PROGRAM.heading == SESSION.heading == SECTION
    assert len([line for line in PROGRAM.text.splitlines() if line.strip()]) == 10


def test_the_program_prints_what_the_readme_says_and_leaves_no_server(folder: Path) -> None:
    (folder / "app.py").write_text(PROGRAM.text.replace(FOLDER, str(folder / "queue")))
    run_worker, run_producer = SESSION.commands
    worker = start(run_worker, folder, "worker")
    try:
        producer = start(run_producer, folder, "producer")
        try:
            assert producer.wait(PATIENCE) == 0, said(folder, "producer")
        finally:
            producer.kill()
            producer.wait()
        assert said(folder, "producer").splitlines() == SESSION.printed == ["3"]
        assert users_of(str(folder)), "this test would not notice a server that is left"
        worker.terminate()
        assert worker.wait(PATIENCE) == 0, said(folder, "worker")
    finally:
        worker.kill()
        worker.wait()
    assert "received SIGTERM" in said(folder, "worker")
    assert "Traceback" not in said(folder, "worker")


def start(command: str, folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Run a printed command there; what it says on both channels goes into a file, as to a terminal."""
    with (folder / name).open("wb") as output:
        return subprocess.Popen(words_of(command), cwd=folder, env=environment(), stdout=output, stderr=output)


def said(folder: Path, name: str) -> str:
    return (folder / name).read_text("utf-8")


@pytest.mark.anyio
async def test_the_lines_that_show_the_other_side_run() -> None:
    worker: Worker[None] = Worker("memory://", handle_signals=False)
    names: dict[str, Any] = {"worker": worker, "UUID": UUID, "user_id": uuid4()}
    lines = block("python", containing="the producer's side")
    exec("async def snippet():\n" + indent(lines.text, "    ") + "    return outcome", names)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            await group.start(worker.run_async)
            assert (await names["snippet"]()).success
            worker.drain()


def test_every_python_block_of_every_page_is_run_by_some_test() -> None:
    """Those of the guide and its neighbours one by one, the others by the tests that are named after them."""
    pages = [README, *ROOT.glob("docs/*.md"), *ROOT.glob("[a-z]*/README.md")]
    languages = {page: {one.language for one in blocks_of(page)} for page in pages}
    whole = {page for page in pages if "python" in languages[page]} - set(PAGES)
    assert {page.stem for page in whole} == {"README", "durability", "testing", "sentinel", "cluster"}
    old = {page.stem for page in pages if "py" in languages[page]}
    assert old == {"from-streaq", "from-saq", "from-arq", "from-repid"}, "code of others stands as py"
    [_, _] = [one for one in blocks_of(README) if one.language == "python"]
    for page in ("durability", "sentinel", "cluster"):
        [_] = [one for one in blocks_of(ROOT / "docs" / f"{page}.md") if one.language == "python"]


def test_both_make_commands_are_targets_of_the_makefile() -> None:
    commands = [command for one in blocks_of(README) for command in one.commands if command.startswith("make ")]
    targets = {match[1] for line in (ROOT / "Makefile").read_text().splitlines() if (match := TARGET.match(line))}
    assert commands == ["make demo", "make test"]
    assert {command.removeprefix("make ") for command in commands} <= targets


def test_the_command_is_installed_with_the_package() -> None:
    assert loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["secure-queue"] == "secure_queue.cli:main"


@pytest.mark.parametrize("page", [README, *COMMANDS], ids=lambda page: page.stem)
def test_the_command_line_knows_every_printed_command(page: Path) -> None:
    commands = [command for one in blocks_of(page) for command in one.commands if command.startswith("secure-queue ")]
    assert commands
    for command in commands:
        asked = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
        said = f"No such command '{command.split()[-1]}'"
        unknown = any(f"{command}\nerror: {said}" in one.text for one in blocks_of(page))  # shows what is said then
        assert (asked.exit_code == 2 and said in asked.output) if unknown else asked.exit_code == 0, asked.output


def test_every_page_that_the_readme_links_exists() -> None:
    assert missing_targets(README) == []
