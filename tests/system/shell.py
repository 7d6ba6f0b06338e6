"""The command line from inside of a test: most commands in this process, and real ones where a process is the point."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psutil
import pytest

from secure_queue import Worker
from secure_queue.cli import main
from secure_queue.payload.keys import KeyEntry, KeyState, format_key, generate_key
from tests.servers import Server
from tests.system.processes import ROOT

TARGET = "tests.system.cli_app:worker"
# What that application reads:
QUEUE, JOURNAL, DEADLINE = "SECURE_QUEUE_TEST_QUEUE", "SECURE_QUEUE_TEST_JOURNAL", "SECURE_QUEUE_TEST_DEADLINE"
PATIENCE = 30.0
ACTIVE, REVOKED = generate_key("current"), generate_key("leaked")
KEYS = f"{format_key(ACTIVE)},{format_key(KeyEntry('leaked', KeyState.REVOKED, REVOKED.material))}"


@contextmanager
def as_a_process(folder: Path, environment: Mapping[str, str], stdin: str = "") -> Iterator[None]:
    """This process in the place of a new one: in *folder*, with *environment*, and without the application imported."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("SECURE_QUEUE_"):
                patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.delitem(sys.modules, TARGET.partition(":")[0], raising=False)
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if is_of(sys.modules[name], folder):
                    del sys.modules[name]


def is_of(module: object, folder: Path) -> bool:
    """Whether a module is a file of *folder*."""
    return str(getattr(module, "__file__", None) or "").startswith(str(folder))


def exit_code(*words: str) -> object:
    """Run ``secure-queue`` with these words in this process, and return what it ends with."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["secure-queue", *words])
        main()
    return end.value.code


class Shell:
    """A shell with a queue of its own; every process that it starts is ended by its pid, whatever happens."""

    def __init__(self, folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.folder = folder
        self.server = server
        self.queue = f"cli-{uuid4().hex[:8]}"
        self.journal = folder / "journal"
        self.journal.touch()
        self.processes: list[subprocess.Popen[str]] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SECURE_QUEUE_")}
        self.environment |= {
            "PYTHONPATH": str(ROOT),
            "SECURE_QUEUE_URL": f"unix://{server.unix_path}",
            "SECURE_QUEUE_KEYS": KEYS,
            QUEUE: self.queue,
            JOURNAL: str(self.journal),
        }

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start ``secure-queue`` with these words."""
        command = [sys.executable, "-W", "error", "-m", "secure_queue", *words]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **given)
        self.processes.append(process)
        return process

    def spawn(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it to its end in a process, and check the exit code and that no traceback was shown."""
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        return self._checked(words, code, process.returncode, out, err)

    def run(self, *words: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """``spawn`` without a process."""
        self._capsys.readouterr()
        with as_a_process(self.folder, self.environment, stdin):
            ended_with = exit_code(*words)
        return self._checked(words, code, ended_with, *self._capsys.readouterr())

    @staticmethod
    def _checked(
        words: tuple[str, ...], code: int, ended_with: object, out: str, err: str
    ) -> subprocess.CompletedProcess[str]:
        assert ended_with == code, f"exit code {ended_with}\n{out}\n{err}"
        assert "Traceback" not in err
        return subprocess.CompletedProcess(words, code, out, err)

    def refuse(self, *words: str, code: int = 2) -> str:
        """Run what must be refused in one line, and return that line."""
        return self.refused(self.run(*words, code=code))

    @staticmethod
    def refused(done: subprocess.CompletedProcess[str]) -> str:
        """The one line of what was refused."""
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        return done.stderr

    def lines(self, event: str) -> list[tuple[int, int]]:
        """Number and pid of what the tasks have noted."""
        words = [line.split() for line in self.journal.read_text().splitlines()]
        return [(int(number), int(pid)) for what, number, pid in words if what == event]

    def producer(self) -> Worker[None]:
        """A worker object of the same queue in this process."""
        worker: Worker[None] = Worker(
            self.environment["SECURE_QUEUE_URL"], queue_name=self.queue, signing_secret=KEYS.split(",")
        )

        @worker.task(name="note", ttl=60)
        async def note(number: int, seconds: float = 0.0) -> int:
            return number

        @worker.task(name="fail", max_tries=1)
        async def fail(message: str) -> None: ...

        @worker.task(name="fail_otherwise", max_tries=1)
        async def fail_otherwise() -> None: ...

        @worker.task(name="seats", ttl=60)
        async def seats() -> int:
            return 0

        @worker.task(name="hang", ttl=60)
        def hang(number: int) -> None: ...

        return worker

    def enqueue(self, name: str, *calls: tuple[object, ...]) -> list[str]:
        """Enqueue one run for each tuple of arguments; return the ids."""

        async def send() -> list[str]:
            async with self.producer() as worker:
                tasks = [worker.registry[name].enqueue(*arguments) for arguments in calls]
                await worker.enqueue_many(tasks)
                return [task.id for task in tasks]

        return anyio.run(send)

    def ask(self, question: Callable[[Worker[None]], Any]) -> Any:
        async def answer() -> Any:
            async with self.producer() as worker:
                return await question(worker)

        return anyio.run(answer)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
            process.wait(PATIENCE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
