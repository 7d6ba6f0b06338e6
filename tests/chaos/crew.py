"""The producer and the workers of a case: started, watched by what they write down, and ended whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.ledger import Reader
from tests.servers import PATIENCE, die_with_parent, eventually

ROOT = Path(__file__).parents[2]
START_S = 60.0
BACKENDS = ("asyncio", "trio")


@dataclass(frozen=True, slots=True)
class Load:
    """*count* enqueues, *rate* a second, each due after *delay* seconds; every *keyed*-th has an id of its own.

    The others stand in the lines of *ordered* keys in turn; 0: in none.
    With *linked* each is of two tasks in partitions 0 and 1, the second of which waits for the first.
    """

    rate: float = 100.0
    count: int = 1000
    delay: float = 0.0
    keyed: int = 0
    linked: bool = False
    ordered: int = 0


class Member:
    """One process and its ledger."""

    def __init__(self, name: str, folder: Path, role: str, options: dict[str, Any]) -> None:
        self.name = name
        self.reader = Reader(folder / f"{name}.ledger")
        self.was_killed = False
        self._log = folder / f"{name}.log"
        words = [sys.executable, "-W", "error", "-m", "tests.chaos.app", role]
        options = options | {"ledger": str(self.reader.path)}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*words, json.dumps(options)],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )

    async def has_noted(self, event: str) -> None:
        """Wait until it has written down that *event* has happened; raises with its last words if it ends before."""

        async def is_noted() -> bool:
            assert self.process.poll() is None, self._log.read_text()[-2000:]
            return self.reader.has(event)

        await eventually(is_noted, patience=START_S)

    def tell(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, as the fault of the case."""
        self.was_killed = True
        self.end()

    def end(self) -> None:
        """End it at once, in whatever state it is."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self.process.stdin is not None:
            self.process.stdin.close()

    async def leave(self) -> None:
        """End it as it should be ended: a producer's input ends, a worker gets a signal."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            if self.name != "producer":
                self.send(signal.SIGTERM)
            try:
                await eventually(self._is_gone, patience=START_S)
            except TimeoutError:
                self.process.send_signal(signal.SIGABRT)  # it stays as a process that did not end clean
                self.process.wait(PATIENCE)

    async def _is_gone(self) -> bool:
        return self.process.poll() is not None

    @property
    def died(self) -> bool:
        """Whether it has ended in another way than the case or its end wanted it to."""
        return not self.was_killed and self.process.poll() not in (None, 0)


class Crew:
    """Everybody who uses the queue in one case."""

    def __init__(self, folder: Path, url: str, options: dict[str, Any]) -> None:
        self.folder = folder
        self._common = {"url": url, "worker": options}
        self.workers: list[Member] = []
        self.producer: Member | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.everybody:
            member.end()

    @property
    def everybody(self) -> list[Member]:
        """The producer, if there is one, and the workers."""
        return [*([self.producer] if self.producer else []), *self.workers]

    async def start_worker(self) -> Member:
        """Start a further worker, on the other event loop than the one before, and wait until it is ready."""
        number = len(self.workers)
        worker = Member(f"worker-{number}", self.folder, "worker", self._common | {"backend": BACKENDS[number % 2]})
        self.workers.append(worker)
        await worker.has_noted("ready")
        return worker

    async def start_producer(self, load: Load) -> Member:
        """Start the load, and wait until it has begun."""
        options = self._common | {"backend": BACKENDS[0], "load": asdict(load)}
        self.producer = Member("producer", self.folder, "producer", options)
        await self.producer.has_noted("begun")
        return self.producer

    def acked(self) -> set[str]:
        """The tasks whose enqueue has returned."""
        assert self.producer is not None
        return {entry.facts[0] for entry in self.producer.reader.refresh() if entry.event == "ack"}

    def ran(self) -> set[str]:
        """The tasks that have run to their end."""
        return {entry.facts[0] for worker in self.workers for entry in worker.reader.refresh() if entry.event == "run"}

    async def leave(self) -> None:
        """Send everybody home."""
        for member in self.everybody:
            await member.leave()
