"""Starts worker processes, reads their journal, and ends them by their pid whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers import PATIENCE, wait_until
from tests.system import app

ROOT = Path(__file__).parents[2]


class Fleet:
    """Worker processes of one test on one server."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journal = folder / "journal"
        self.journal.touch()
        self.log = folder / "workers.log"
        self._url = url
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(PATIENCE)

    def start(self, **options: float) -> subprocess.Popen[bytes]:
        """Start one worker process with these options of ``Worker``."""
        words = " ".join(f"{name}={value}" for name, value in options.items())
        environment = os.environ | {
            "SECURE_QUEUE_URL": self._url,
            "SECURE_QUEUE_TEST_OPTIONS": words,
            app.JOURNAL: str(self.journal),
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-W", "error", "-m", "tests.system.app"]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def lines(self) -> list[tuple[str, int, int, int]]:
        """What has happened so far: event, number, pid, try."""
        whole = [line.split() for line in self.journal.read_text().splitlines() if line.count(" ") == 3]
        return [(event, int(number), int(pid), int(tries)) for event, number, pid, tries in whole]

    def ended(self) -> Counter[int]:
        """How often each number has run to its end."""
        return Counter(number for event, number, _, _ in self.lines() if event == "end")

    def started(self) -> Counter[int]:
        """How often each number has been started."""
        return Counter(number for event, number, _, _ in self.lines() if event == "start")

    def wait_for(self, numbers: set[int], *, patience: float = PATIENCE) -> None:
        """Wait until every one of *numbers* has run to its end."""
        try:
            wait_until(lambda: numbers <= self.ended().keys(), patience=patience)
        except AssertionError:
            missing = sorted(numbers - self.ended().keys())
            raise AssertionError(
                f"never ran: {missing[:20]} of {len(numbers)}\n{self.log.read_text()[-4000:]}"
            ) from None

    def wait_for_start(self, count: int) -> None:
        """Wait until *count* runs have been started."""
        wait_until(lambda: self.started().total() >= count)
