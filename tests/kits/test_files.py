"""The kits are consistent: compose files parse and mount what exists, ACL files say what the code does, pages lead on."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from secure_queue.cli import app, main
from secure_queue.local.logins import SENTINEL_USERS, SERVER_USERS, users_in
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.roles import Dialect, Role, rule
from tests.tour.blocks import ROOT, blocks_of, missing_targets

KITS = ["deploy", "sentinel", "cluster"]
MADE = ("secrets", "data")  # by the steps of the runbook
NODES = {"deploy": 1, "sentinel": 6, "cluster": 6}
ADDRESS = re.compile(r"172\.28\.\d+\.\d+")


def compose(kit: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / kit / "compose.yaml").read_text())
    return found


def rules(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("kit", KITS)
def test_a_compose_file_names_services_with_addresses_of_their_own(kit: str) -> None:
    services = compose(kit)["services"]
    assert len(services) == NODES[kit]
    addresses = [service["networks"]["queue"]["ipv4_address"] for service in services.values()]
    assert len(set(addresses)) == len(addresses)
    [subnet] = [config["subnet"] for config in compose(kit)["networks"]["queue"]["ipam"]["config"]]
    assert all(address.startswith(subnet.partition("0/")[0]) for address in addresses)
    for service in services.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and "image" in service and "user" in service


@pytest.mark.parametrize("kit", KITS)
def test_everything_that_is_mounted_or_started_exists(kit: str) -> None:
    own_data = []
    for service in compose(kit)["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source == "./" or source.split("/")[1] in MADE, source
            own_data += [source] if source != "./" else []
        for word in service["command"]:
            name = word.removeprefix("/kit/")
            if name.endswith((".conf", ".sh")) and "auth" not in name:
                assert (ROOT / kit / name).is_file(), name
    assert len(set(own_data)) == len(own_data), "no two services share their data"


def role_in_every_queue(role: Role, kit: str) -> str:
    """What ``secure-queue acl`` prints for *role*, with ``*`` in place of a queue's name and of a password's digest."""
    keys = QueueKeys("*", ("*",))
    words = rule(role, keys, Dialect.REDIS_7_2, user=role, password="resetpass", cluster=kit == "cluster")
    return f"user {words}"


@pytest.mark.parametrize("kit", KITS)
def test_the_acl_file_of_servers_says_what_the_command_prints_and_a_local_topology_does(kit: str) -> None:
    kept = rules(ROOT / kit / "users.acl")
    roles = [role_in_every_queue(role, kit) for role in Role]
    peers = {"deploy": [], "sentinel": ["replica", "sentinel"], "cluster": ["replica"]}[kit]
    others = [line for line in SERVER_USERS if line.split()[1] in ("default", "admin", *peers)]
    assert kept == [others[0], *roles, *others[1:]]
    assert users_in(kept) == [*Role, "admin", *peers], "no password is in a kit"


def test_the_acl_file_of_sentinels_says_what_a_local_topology_does() -> None:
    assert rules(ROOT / "sentinel" / "sentinel-users.acl") == list(SENTINEL_USERS)


@pytest.mark.parametrize("kit", KITS)
def test_the_certificates_of_the_runbook_name_every_address(kit: str) -> None:
    services = compose(kit)["services"].values()
    wanted = {service["networks"]["queue"]["ipv4_address"] for service in services}
    made = [
        command for block in blocks_of(ROOT / kit / "README.md") for command in block.commands if " certs " in command
    ]
    assert wanted <= set(ADDRESS.findall(made[0]))


@pytest.mark.parametrize("kit", KITS)
def test_the_runbook_leads_somewhere_and_covers_its_chapters(kit: str) -> None:
    page = ROOT / kit / "README.md"
    assert missing_targets(page) == []
    chapters = ["Install", "Back up and restore", "Upgrade", "What to watch"]
    if kit != "deploy":
        chapters += ["Fail over by hand", "Replace a node", "Grow"]
    if kit == "cluster":
        chapters += ["Reshard"]
    headings = {line.removeprefix("## ") for line in page.read_text().splitlines() if line.startswith("## ")}
    assert set(chapters) <= headings


@pytest.mark.parametrize("page", [f"{kit}/README.md" for kit in KITS])
def test_the_command_line_knows_every_printed_command(page: str) -> None:
    commands = [command for block in blocks_of(ROOT / page) for command in block.commands]
    ours = [command for command in commands if command.startswith("secure-queue ")]
    assert ours
    for command in ours:
        asked = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
        assert asked.exit_code == 0, f"{command}\n{asked.output}"


@pytest.mark.parametrize("kit", KITS)
def test_the_first_commands_of_the_runbook_work_one_after_the_other(
    kit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copy_of(kit, tmp_path)
    monkeypatch.chdir(place)
    commands = [command for block in blocks_of(ROOT / kit / "README.md") for command in block.commands]
    before = os.umask(0o022)
    try:
        for command in (command for command in commands if command.startswith("secure-queue ")):
            done = CliRunner().invoke(app, shlex.split(command)[1:])
            assert done.exit_code == 0, f"{command}\n{done.output}{done.exception}"
    finally:
        os.umask(before)
    assert {path.name for path in place.glob("secrets/*")} >= {"tls", "passwords.json", "users.acl"}
    assert not [path for path in place.glob("secrets/**/*key*") if path.stat().st_mode & stat.S_IRWXO]


def copy_of(kit: str, folder: Path) -> Path:
    """The files of a kit in a folder of their own."""
    place = folder / "kit"
    place.mkdir()
    for file in (ROOT / kit).iterdir():
        if file.is_file():
            (place / file.name).write_bytes(file.read_bytes())
    return place


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Path]:
    """A folder for PATH whose redis-server says how it was called."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o700)
    return program.parent


@pytest.mark.parametrize(
    ("kit", "words", "line"),
    [
        ("sentinel", ["redis.conf", "auth.conf", "replicaof 172.28.7.11 6379"], "replicaof 172.28.7.11 6379"),
        ("sentinel", ["sentinel.conf", "sentinel-auth.conf"], "sentinel sentinel-user sentinel"),
        ("cluster", ["redis.conf", "auth.conf"], "masteruser replica"),
    ],
)
def test_a_server_is_started_with_a_configuration_that_it_may_keep(
    kit: str, words: list[str], line: str, stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, data = copy_of(kit, tmp_path), tmp_path / "data"
    data.mkdir()
    acl = sorted(map(str, place.glob("*.acl")))
    monkeypatch.setattr("sys.argv", ["secure-queue", "users", *acl, "--into", str(place / "secrets")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    environment = {"PATH": f"{stub}{os.pathsep}{os.environ['PATH']}", "KIT": str(place), "DATA": str(data)}
    command = ["sh", str(place / "start.sh"), *words]
    called = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    made = data / words[0]
    assert called == [str(made), *(["--sentinel"] if words[0] == "sentinel.conf" else [])]
    assert line in made.read_text().splitlines()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600, "it holds a password"
    made.write_text("what the server has learned\n")
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert made.read_text() == "what the server has learned\n"


def test_alerts_are_rules_with_an_expression_and_an_action() -> None:
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text())["groups"]
    for alert in (alert for group in groups for alert in group["rules"]):
        assert alert["expr"] and alert["labels"]["severity"] in ("page", "ticket") and alert["annotations"]["action"]
        assert not re.search(r"\band\b(?! on )", alert["expr"]), "figures of different labels match nothing"


def test_the_unit_stops_a_worker_in_peace() -> None:
    unit = (ROOT / "deploy" / "secure-queue@.service").read_text()
    assert "KillSignal=SIGTERM" in unit and "RestartPreventExitStatus=2" in unit
    grace = int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0])
    assert grace > 25, "longer than the default grace_period"


@pytest.mark.parametrize("dialect", Dialect)
def test_the_users_of_a_kit_are_written_for_an_older_server_too(
    dialect: Dialect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "secrets"
    words = ["secure-queue", "users", str(ROOT / "deploy" / "users.acl"), "--into", str(into), "--server", dialect]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    text = (into / "users.acl").read_text()
    assert ("(+exists %R~sq:{*/*}:leases " in text) is dialect.has_selectors
    assert ("+waitaof" in text) is ("+client|setinfo" in text) is (dialect is Dialect.REDIS_7_2)
    worker = next(line for line in text.splitlines() if line.startswith("user worker "))
    keys = QueueKeys("*", ("*",))
    printed = rule(Role.WORKER, keys, dialect, user="worker", password="resetpass", cluster=False)
    assert re.sub(r" #[0-9a-f]{64}", "", worker) == f"user {printed}"
