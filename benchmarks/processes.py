"""Runs a contestant's file in a fresh process of its own environment and reads the JSON that it prints."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.environments import Contender
from benchmarks.server import stop

CALL_TIMEOUT_S = 600
LAST_LINES = 15


class Failed(RuntimeError):
    """A contestant's process failed, or its numbers cannot be right."""


@dataclass(slots=True)
class RunningWorker:
    """A worker process: how to watch its progress and, once it has been stopped, what it reports."""

    count: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """A contestant that can be called."""

    contender: Contender
    python: Path
    url: str
    secret: str

    def call(self, verb: str, count: int) -> dict[str, Any]:
        """Run one measurement to its end."""
        with tempfile.TemporaryFile("w+") as errors:
            process = self._start(errors, verb, "--count", str(count))
            try:
                output, _ = process.communicate(timeout=CALL_TIMEOUT_S)
            finally:
                stop(process)
            return self._last_line(process, output, errors)

    @contextmanager
    def worker(self, profile: Path | None = None) -> Iterator[RunningWorker]:
        """Run the worker for the length of the block; SIGTERM ends it, as in production."""
        extra = ("--profile", str(profile)) if profile else ()
        with tempfile.TemporaryFile("w+") as errors:
            process = self._start(errors, "worker", *extra)
            assert process.stdout
            try:
                first = process.stdout.readline()
                running = RunningWorker(self._parsed(process, first, errors))
                yield running
                process.terminate()
                output, _ = process.communicate(timeout=CALL_TIMEOUT_S)
                running.report = self._last_line(process, output, errors)
            finally:
                stop(process)

    def _start(self, errors: IO[str], *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, "-m", self.contender.module, *arguments, "--url", self.url],
            cwd=self.contender.home,  # what is imported comes from there
            env={**os.environ, "BENCH_SECRET": self.secret},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            process_group=0,
        )

    def _last_line(self, process: subprocess.Popen[str], output: str, errors: IO[str]) -> dict[str, Any]:
        if process.returncode:
            raise self._failure(process, errors)
        return self._parsed(process, (output.splitlines() or [""])[-1], errors)

    def _parsed(self, process: subprocess.Popen[str], line: str, errors: IO[str]) -> dict[str, Any]:
        try:
            parsed: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._failure(process, errors) from None
        return parsed

    def _failure(self, process: subprocess.Popen[str], errors: IO[str]) -> Failed:
        errors.seek(0)
        last = "".join(errors.readlines()[-LAST_LINES:])
        return Failed(f"{self.contender.title} ended with {process.poll()}:\n{last}")
