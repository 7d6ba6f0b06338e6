"""A shell for the tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server
from tests.system.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, real_server: Server, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """With a queue of its own on the shared server."""
    shell = Shell(tmp_path, real_server, capsys)
    try:
        yield shell
    finally:
        shell.close()
