"""Keeps one redis-server running for as long as anybody holds a shared lock; a program of its own, not to be imported.

``python -c <this source> <home> <folder to remove at the end, or nothing> <command of the server ...>``

Every user of the server holds a shared ``flock`` on ``<home>/users.lock``. The system takes it away when the process
ends, however it ends, so the keeper needs no counting and no heartbeat: once it gets the lock for itself, nobody is
left. While it holds that lock nobody can join, so a server is never joined while it is being stopped. The keeper holds
``<home>/keeper.lock`` for its whole life, which tells the others whether there is a keeper. It is in a session of its
own: a Ctrl-C at the terminal of a worker is not meant for the server.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

STOP_TIMEOUT = 10.0  # seconds for SIGTERM to write out the data, then SIGKILL
RESTART_PAUSE = 0.2
PR_SET_PDEATHSIG = 1


def main(home: str, litter: str, command: list[str]) -> None:
    """Leave the caller's process tree, then keep the server until nobody holds the users' lock."""
    os.umask(0o077)
    life = os.open(Path(home, "keeper.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    if not claim(life):
        return  # another keeper was faster
    os.setsid()
    if os.fork():  # the child shares the lock: whoever started us finds it taken when we return
        os._exit(0)
    if keep(home, command) and litter:
        shutil.rmtree(litter, ignore_errors=True)


def claim(life: int) -> bool:
    """Take the keeper's lock; those who only look whether it is taken hold it for a moment."""
    for _ in range(100):
        try:
            fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False


def keep(home: str, command: list[str]) -> bool:
    """Run the server, again if it is killed; say at its end whether the users are gone (or it has ended by itself)."""
    deserted = threading.Event()
    servers = [start(home, command)]
    threading.Thread(target=await_desertion, args=(home, deserted, servers), daemon=True).start()
    while servers[-1].wait() < 0 and not deserted.is_set():
        time.sleep(RESTART_PAUSE)
        servers.append(start(home, command))
        if deserted.is_set():
            stop(servers[-1])
    return deserted.is_set()


def start(home: str, command: list[str]) -> "subprocess.Popen[bytes]":
    """Start the server so that it ends with a killed keeper too (on Linux; elsewhere the next user ends it)."""
    with Path(home, "server.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the command comes from embedded.py
            command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
        )


def die_with_parent() -> None:
    """Ask Linux to end this process with its parent; called between fork and exec."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def await_desertion(home: str, deserted: threading.Event, servers: "list[subprocess.Popen[bytes]]") -> None:
    """Wait for the users' lock, keep it until this process ends, and stop the server under it."""
    users = os.open(Path(home, "users.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    deserted.set()
    stop(servers[-1])


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server by its own pid, gently first."""
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.kill()


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
