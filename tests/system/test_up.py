"""``secure-queue up`` as a developer starts it: a process of its own, its servers, and what is left of both."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from secure_queue import Worker
from secure_queue.local.node import _free_port, speaks_tls
from tests.servers import bundled_binary, server_binary, wait_until
from tests.system.shell import as_a_process, exit_code
from tests.worker.places import SECRET

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PATIENCE = 40.0
SENTINEL_NODES = 6


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "secure_queue", "up", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, "--binary", str(server_binary())], stdout=pipe, stderr=pipe, text=True)


class Refusals:
    """The command in this process, where it must not start anything."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys

    def __call__(self, *words: object, binary: object = server_binary()) -> str:
        """The one line with which it is refused."""
        with as_a_process(self._folder, {}):
            code = exit_code("up", *map(str, words), "--binary", str(binary))
        out, err = self._capsys.readouterr()
        assert (code, out) == (2, ""), out + err
        assert err.count("\n") == 1 and err.startswith("error: "), err
        return err


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusals:
    return Refusals(tmp_path, capsys)


@contextmanager
def running(*words: object) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """It, and the object that it printed when everything was up."""
    process = start(*words, "--json")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=PATIENCE)[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def servers_of(folder: Path) -> list[psutil.Process]:
    """The servers that work in *folder*, each in its own part of it; not the children that write out their data."""
    found = [
        process for process in psutil.process_iter(["cwd", "status"]) if str(folder) in (process.info["cwd"] or "")
    ]
    ids = {process.pid for process in found}
    return [one for one in found if one.info["status"] != psutil.STATUS_ZOMBIE and one.ppid() not in ids]


def ports(count: int) -> str:
    return ",".join(str(_free_port()) for _ in range(count))


def enqueue(url: str, *numbers: int) -> int:
    """Enqueue tasks that no worker runs; say how many wait then."""

    async def send() -> int:
        worker = Worker(url, queue_name="up", signing_secret=SECRET)

        @worker.task
        async def wait_for_ever(number: int) -> None: ...

        async with worker:
            await worker.enqueue_many([wait_for_ever.enqueue(number) for number in numbers])
            return await worker.queue_size()

    return anyio.run(send)


def test_it_is_used_through_its_url_keeps_its_data_and_leaves_no_process(tmp_path: Path, refusal: Refusals) -> None:
    folder = tmp_path / "kept"
    with running("sentinel", "--folder", folder, "--users", "--port", ports(SENTINEL_NODES)) as (process, said):
        assert {node["role"] for node in said["nodes"]} == {"primary", "replica", "sentinel"}
        assert enqueue(said["url"], 1, 2, 3) == 3
        assert f"(process {process.pid})" in refusal("sentinel", "--folder", folder)
        assert len(servers_of(folder)) == SENTINEL_NODES
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert servers_of(folder) == []
    with running("sentinel", "--folder", folder) as (process, again):
        assert again["url"] == said["url"], "ports, users and passwords are found again"
        assert enqueue(again["url"]) == 3
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert servers_of(folder) == []
    assert "was made with --replicas 2" in refusal("sentinel", "--folder", folder, "--replicas", "1")
    assert "holds a sentinel topology" in refusal("cluster", "--folder", folder)
    open_files = [path for path in folder.glob("*") if path.is_file() and path.stat().st_mode & stat.S_IRWXO]
    assert open_files == [], "passwords and ACL files are private"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_starter_leaves_no_server(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    with running("standalone", "--folder", folder, "--replicas", "1", "--port", ports(2)) as (process, said):
        assert len(servers_of(folder)) == 2
        process.kill()
        wait_until(lambda: not servers_of(folder))
    with running("standalone", "--folder", folder) as (_, again):
        assert again["url"] == said["url"], "its lock has gone with it"


def test_a_change_is_one_line_and_the_end_of_all_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "changes"
    with running("standalone", "--folder", folder, "--port", ports(1)) as (process, _):
        [server] = servers_of(folder)
        server.kill()
        assert process.stdout is not None
        change = json.loads(process.stdout.readline())
        assert (change["event"], change["nodes"][0]["role"]) == ("change", "down")
        assert process.wait(PATIENCE) == 2
        assert process.stderr is not None and "every process has ended" in process.stderr.read()


def test_what_cannot_be_started_says_what_to_do(tmp_path: Path, refusal: Refusals) -> None:
    with running("standalone", "--port", ports(1)) as (_, said):
        taken = said["nodes"][0]["port"]
        assert f"port {taken} is taken by another process; choose others with --port" in refusal(
            "standalone", "--port", taken
        )
    open_folder = tmp_path / "open"
    open_folder.mkdir(mode=0o755)
    assert f"chmod 700 {open_folder}" in refusal("standalone", "--folder", open_folder)
    assert "is not an executable redis-server" in refusal("standalone", binary=tmp_path)
    silent = Path(shutil.which("true") or "true")
    assert "server-0 does not answer" in refusal("standalone", "--port", ports(1), binary=silent)
    assert "none/names.json cannot be written" in refusal("standalone", "--passwords", tmp_path / "none" / "names.json")


def test_tls_with_a_server_that_has_none_is_refused(refusal: Refusals) -> None:
    assert not speaks_tls(bundled_binary())
    said = refusal("cluster", "--tls", "--port", ports(6), binary=bundled_binary())
    assert "was built without TLS" in said and "--binary" in said


@pytest.mark.skipif(not speaks_tls(server_binary()), reason="this server was built without TLS")
def test_tls_and_users_are_a_switch_each(tmp_path: Path) -> None:
    folder = tmp_path / "secured"
    with running("cluster", "--tls", "--users", "--folder", folder, "--port", ports(6)) as (_, said):
        assert said["url"].startswith("rediss+cluster://app:")
        assert enqueue(said["url"], 1) == 1
