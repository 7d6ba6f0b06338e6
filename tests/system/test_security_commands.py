"""Keys, audit, quarantine, log and rules of access from the command line, in this process; one flow with real workers."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import redis

from secure_queue import Worker
from secure_queue.cli import main
from secure_queue.payload import key_files
from secure_queue.payload.keys import KeyEntry, KeyState, format_key, generate_key
from secure_queue.redis.keys import QueueKeys
from tests.servers import Server, wait_until
from tests.system import target_app
from tests.system.processes import ROOT

TARGET = "tests.system.target_app:worker"
QUEUE = "security-commands"
KEYS = QueueKeys(QUEUE, ("normal",))
CANARY = "canary-4711"
PATIENCE = 60.0
ACTIVE, FOREIGN = generate_key("current"), generate_key("foreign")


class Shell:
    """Runs commands in this process for a queue of its own; all that they said is in ``said``."""

    def __init__(
        self, server: Server, folder: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.server = server
        self.folder = folder
        self.file = folder / "keys.toml"
        self.said = ""
        self._patch = patch
        self._capsys = capsys
        self.ran: list[object] = []

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command to its end and check its exit code; returns what it printed as its result."""
        self._patch.setattr(sys, "argv", ["secure-queue", *words])
        with pytest.raises(SystemExit) as end:
            main()
        captured = self._capsys.readouterr()
        self.said += captured.out + captured.err
        self.hints = captured.err
        assert end.value.code == code, captured
        return captured.out

    def refuse(self, *words: str, code: int = 2) -> str:
        """Run what must be refused in one line, and return that line."""
        assert self.run(*words, code=code) == ""
        assert self.hints.startswith("error: ") and self.hints.count("\n") == 1, self.hints
        return self.hints

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    def use(self, *keys: KeyEntry) -> Worker[None]:
        """Let TARGET be a worker with these keys."""
        worker: Worker[None] = Worker(
            f"unix://{self.server.unix_path}", queue_name=QUEUE, signing_secret=[format_key(key) for key in keys]
        )
        self.declare(worker)
        return worker

    def declare(self, worker: Worker[None]) -> None:
        @worker.task(name="note", ttl=60)
        async def note(value: object) -> None:
            self.ran.append(value)

        self._patch.setattr(target_app, "worker", worker)

    def states(self, file: Path | None = None) -> dict[str, str]:
        return {key.entry.name: key.entry.state.value for key in key_files.read_key_file(file or self.file)}


@pytest.fixture
def shell(
    real_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    for name in ("SECURE_QUEUE_URL", "SECURE_QUEUE_KEYS", "SECURE_QUEUE_KEYS_FILE", "SECURE_QUEUE_AUDIT_KEY"):
        monkeypatch.delenv(name, raising=False)
    real_server.command("FLUSHALL")
    yield Shell(real_server, tmp_path, monkeypatch, capsys)
    real_server.command("FLUSHALL")


def enqueue(worker: Worker[None], *values: object) -> None:
    async def send() -> None:
        async with worker:
            await worker.enqueue_many([worker.registry["note"].enqueue(value) for value in values])

    anyio.run(send)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_rotation_by_its_three_steps_while_workers_run(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_QUEUE_KEYS_FILE", str(shell.file))
    monkeypatch.setenv("SECURE_QUEUE_URL", f"unix://{shell.server.unix_path}")
    monkeypatch.setenv("SECURE_QUEUE_TEST_QUEUE", QUEUE)
    shell.run("keys", "generate", "--name", "old", "--file", str(shell.file))
    shell.declare(Worker(queue_name=QUEUE))
    words = [sys.executable, "-m", "secure_queue", "run", "tests.system.cli_app:worker", "--processes", "2"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT) as supervisor:
        try:
            wait_until(lambda: len(shell.json("keys", "status", TARGET)["processes"]) == 2, patience=PATIENCE)
            _rotate(shell, supervisor)
        finally:
            supervisor.terminate()
        assert supervisor.wait(PATIENCE) == 0
        log = supervisor.stderr.read()  # type: ignore[union-attr]
    assert log.count("received SIGHUP") >= 2 and log.count("the keys have changed") >= 4
    secrets = re.findall(r'secret = "([\w-]{43})"', shell.file.read_text())
    shell.run("keys", "list")
    assert len(secrets) == 2
    assert all(secret not in shell.said + log for secret in secrets)
    assert stat.S_IMODE(shell.file.stat().st_mode) == 0o600


def _rotate(shell: Shell, supervisor: subprocess.Popen[str]) -> None:
    """The three steps, each run twice."""
    shell.run("keys", "rotate", "distribute", "--name", "new")
    assert "added new" in shell.hints
    shell.run("keys", "rotate", "distribute", "--name", "new")
    assert "nothing was changed" in shell.hints and "next: 1." in shell.hints
    assert shell.states() == {"old": "active", "new": "verify"}
    supervisor.send_signal(signal.SIGHUP)  # at once, and not only within 5 seconds
    wait_until(lambda: _all_agree(shell), patience=PATIENCE)
    for expected in ("new signs now", "nothing was changed"):
        shell.run("keys", "rotate", "promote", "new", "--check", TARGET)
        assert expected in shell.hints
    assert shell.states() == {"old": "verify", "new": "active"}
    wait_until(lambda: _all_agree(shell), patience=PATIENCE)
    for expected in ("old is revoked", "nothing was changed"):
        shell.run("keys", "rotate", "retire", "old", "--check", TARGET, "--pause", "0")
        assert expected in shell.hints
    assert shell.states() == {"old": "revoked", "new": "active"}


def _all_agree(shell: Shell) -> bool:
    target_app.worker._live_keys.look()
    try:
        shell.run("keys", "status", TARGET)
    except AssertionError:
        assert "do not hold these keys yet" in shell.hints
        return False
    return True


def test_steps_of_a_rotation_that_would_do_harm_are_refused(shell: Shell) -> None:
    key_files.add_key(shell.file, KeyEntry("old", KeyState.ACTIVE, ACTIVE.material))
    file = ("--file", str(shell.file))
    shell.run("keys", "rotate", "distribute", "--name", "new", *file)
    assert "old signs; first" in shell.refuse("keys", "rotate", "retire", "old", *file)
    assert "no key of that name" in shell.refuse("keys", "rotate", "promote", "nobody", *file)

    async def promote_too_early() -> None:
        shell.use(ACTIVE)
        early = target_app.worker
        async with early:
            for _ in range(2_000):
                if await early.processes():
                    break
                await anyio.sleep(0.005)
            words = ("keys", "rotate", "promote", "new", *file, "--check", TARGET)
            shell.use(ACTIVE)
            said = await anyio.to_thread.run_sync(lambda: shell.refuse(*words, code=1))
            assert "do not know new yet; nothing was changed" in said

    anyio.run(promote_too_early)
    assert shell.states() == {"old": "active", "new": "verify"}
    enqueue(shell.use(ACTIVE), 1)
    shell.run("keys", "rotate", "promote", "new", *file)
    keys = [stored.entry for stored in key_files.read_key_file(shell.file)]
    shell.use(*keys)
    shell.server.command("DEL", KEYS.present)
    retire = ("keys", "rotate", "retire", "old", *file, "--check", TARGET, "--pause", "0")
    assert "old is not retirable: 1 payloads" in shell.refuse(*retire, code=1)
    assert shell.states() == {"old": "verify", "new": "active"}


def test_a_leaked_key_is_revoked_at_once(shell: Shell) -> None:
    file = ("--file", str(shell.file))
    shell.run("keys", "generate", "--name", "leaked", *file)
    assert "no other key could sign" in shell.refuse("keys", "revoke", "leaked", *file)
    for name in ("one", "two"):
        shell.run("keys", "rotate", "distribute", "--name", name, *file)
    assert "--promote one | two" in shell.refuse("keys", "revoke", "leaked", *file)
    assert "cannot follow itself" in shell.refuse("keys", "revoke", "leaked", "--promote", "leaked", *file)
    assert "no key named 'other'" in shell.refuse("keys", "revoke", "leaked", "--promote", "other", *file)
    shell.run("keys", "revoke", "leaked", "--promote", "two", *file)
    assert "leaked is revoked" in shell.hints
    shell.run("keys", "revoke", "leaked", *file)  # once more does no harm
    assert "may have leaked" in shell.refuse("keys", "revoke", "two", "--promote", "leaked", *file)
    assert "does not sign" in shell.refuse("keys", "revoke", "one", "--promote", "two", *file)
    assert "may have leaked" in shell.refuse("keys", "rotate", "promote", "leaked", *file)
    assert "another --name" in shell.refuse("keys", "rotate", "distribute", "--name", "leaked", *file)
    assert shell.states() == {"leaked": "revoked", "one": "verify", "two": "active"}


def test_what_was_put_aside_is_listed_shown_released_and_destroyed(shell: Shell) -> None:
    told = partial(shell.run, "audit")
    enqueue(shell.use(FOREIGN), 7, CANARY)
    shell.use(ACTIVE)
    evil = f"evil {CANARY}\n\x1b[31m{'-' * 80}".encode()
    shell.server.command("HSET", KEYS.bucket(b"evil"), "evil", evil)
    shell.server.command("RPUSH", KEYS.ready["normal"], "evil")
    shell.run("run", TARGET, "--burst")

    listed = shell.json("audit", "quarantine", "list", TARGET)["quarantine"]
    assert sorted(entry["code"] for entry in listed) == ["unknown-key", "unknown-key", "unsigned"]
    assert "put aside as unknown-key" in told("quarantine", "list", TARGET)
    entry = next(entry["entry"] for entry in listed if entry["id"] == "evil")
    assert "unsigned" in told("quarantine", "show", TARGET, entry)
    assert evil[:16].hex(" ") in told("quarantine", "show", TARGET, entry, "--hex")
    release = ("audit", "quarantine", "release", TARGET)
    assert "it is not genuine here (not-an-envelope)" in shell.refuse(*release, entry, code=1)
    unknown = next(entry["entry"] for entry in listed if entry["code"] == "unknown-key")
    assert "add it as one that verifies" in shell.refuse(*release, unknown, code=1)
    assert "no entry 1-1" in shell.refuse("audit", "quarantine", "show", TARGET, "1-1", code=1)
    assert "name one ENTRY" in shell.refuse("audit", "quarantine", "destroy", TARGET)

    shell.use(ACTIVE, KeyEntry("foreign", KeyState.VERIFY, FOREIGN.material))
    told("quarantine", "release", TARGET, "--all", code=1)
    assert "released: 2, left in quarantine: 1" in shell.hints
    released = next(entry["id"] for entry in listed if entry["id"] != "evil")
    assert "valid" in told("show", TARGET, released)
    assert shell.json("audit", "show", TARGET, released)["findings"][0]["function"] == "note"
    assert "nothing is stored" in shell.refuse("audit", "show", TARGET, "nobody", code=1)
    told("quarantine", "destroy", TARGET, entry, "--yes")
    assert shell.json("audit", "quarantine", "list", TARGET)["quarantine"] == []

    report = shell.json("audit", TARGET, "--since", "1h")
    assert (report["payloads"], report["passed_over"]) == (2, 0)
    assert shell.json("audit", TARGET, "--since", "2999-01-01")["passed_over"] == 2
    assert "is no moment" in shell.refuse("audit", TARGET, "--since", "yesterday")
    told(TARGET, "--reseal")
    assert "resealing: current 2" in shell.hints
    _the_audit_log_tells_it(shell)
    assert CANARY not in shell.said


def _the_audit_log_tells_it(shell: Shell) -> None:
    told = partial(shell.run, "audit")
    shown = told("log", "show", TARGET)
    for event in ("quarantined", "released", "destroyed", "resealed"):
        assert event in shown
    assert "problems 0" in told("log", "verify", TARGET)
    exported = shell.folder / "log.txt"
    told("log", "export", TARGET, str(exported), "--clear")
    assert shell.server.command("LLEN", KEYS.audit) == 0
    assert "name a new file" in shell.refuse("audit", "log", "export", TARGET, str(exported))
    whole = shell.json("audit", "log", "verify", TARGET, "--file", str(exported))
    assert whole["problems"] == [] and whole["records"] >= 8
    checkpoint = next(iter(whole["chains"].values()))
    told("log", "verify", TARGET, "--file", str(exported), "--checkpoint", checkpoint)
    assert "missing-tail" in told("log", "verify", TARGET, "--checkpoint", checkpoint, code=1)
    exported.write_text("".join(exported.read_text().splitlines(keepends=True)[1:]))
    assert "gap" in told("log", "verify", TARGET, "--file", str(exported), code=1)
    assert "is no checkpoint" in shell.refuse("audit", "log", "verify", TARGET, "--checkpoint", "x")
    _, private = shell.run("audit", "log", "keygen").splitlines()
    file = shell.folder / "auditor"
    file.write_text(private)
    assert "chmod 600" in shell.refuse("audit", "log", "verify", TARGET, "--auditor-key", str(file))
    file.chmod(0o600)
    told("log", "verify", TARGET, "--auditor-key", str(file))


def test_the_rules_of_access_are_printed_and_need_a_digest(shell: Shell) -> None:
    shell.use(ACTIVE)
    lines = shell.run("acl", TARGET).splitlines()
    assert [line.split()[2] for line in lines] == [
        "sq_producer", "sq_worker", "sq_auditor", "sq_dashboard", "sq_operator",
    ]  # fmt: skip
    with pytest.raises(redis.exceptions.ResponseError):
        shell.server.command(*lines[0].split())
    assert "cannot be a user name" in shell.refuse("acl", TARGET, "--prefix", "app on nopass ")
    only = shell.json("acl", TARGET, "--role", "worker", "--server", "6.2")
    assert list(only) == ["worker"] and f"sq:{{{QUEUE}/*}}:audit" in only["worker"]
