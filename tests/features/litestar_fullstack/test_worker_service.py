"""A ``worker`` service: ``restart: always``, started when Redis is healthy. ⚠ Here it need not be told to wait."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
import yaml
from typer.testing import CliRunner

from secure_queue import Worker
from secure_queue.cli import app
from tests.servers import PATIENCE, Server
from tests.tour.blocks import ROOT
from tests.worker.places import SECRET

pytestmark = pytest.mark.anyio
KITS = ("deploy", "sentinel", "cluster")


def test_the_unit_of_a_worker_restarts_it_tells_its_health_and_gives_it_time_to_end() -> None:
    unit = (ROOT / "deploy" / "secure-queue@.service").read_text()
    assert "Restart=always" in unit and "KillSignal=SIGTERM" in unit
    assert seconds_to_end(re.findall(r"^TimeoutStopSec=(.*)", unit, re.M)[0]) > grace_period()
    [command] = re.findall(r"^ExecStart=\S+/secure-queue (.*)", unit, re.M)
    [health] = re.findall(r'^Environment="HEALTH=(.*)"', unit, re.M)
    assert "--health" in health
    assert is_understood(command.replace("$HEALTH", health).split())


def test_the_container_of_a_worker_is_restarted_and_says_whether_it_is_healthy() -> None:
    service = yaml.safe_load((ROOT / "deploy" / "worker.yaml").read_text())["services"]["worker"]
    assert service["restart"] == "always" and service["env_file"]
    assert "depends_on" not in service, "a worker waits for its server by itself"
    assert seconds_to_end(service["stop_grace_period"]) > grace_period()
    check = service["healthcheck"]["test"]
    for command in (service["command"], check[1:]):
        assert command[0] == "secure-queue"
        assert is_understood([word.replace("${APP_TARGET:-app:worker}", "app:worker") for word in command[1:]])
    assert (check[0], check[2], check[-1]) == ("CMD", "check", "--here")
    networks = {kit: yaml.safe_load((ROOT / kit / "compose.yaml").read_text())["networks"] for kit in KITS}
    assert all(service["networks"] == list(made) for made in networks.values()), "it fits beside every kit"


def is_understood(words: list[str]) -> bool:
    """Whether the command line takes these words, without running anything."""
    return CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


def seconds_to_end(text: str) -> int:
    return int(text.removesuffix("s"))


def grace_period() -> float:
    return Worker("memory://")._settings.grace_period_s


async def test_a_worker_that_was_started_first_waits_for_a_server_that_is_not_healthy_yet(server: Server) -> None:
    server.pause()  # it accepts connections, and answers nothing
    worker: Worker[Any] = Worker(f"unix://{server.unix_path}", signing_secret=SECRET, handle_signals=False)

    @worker.task
    async def double(number: int) -> int:
        return 2 * number

    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run_async)
                await anyio.wait_all_tasks_blocked()
                server.resume()
                async with worker:
                    assert (await (await double.enqueue(4)).result(timeout=PATIENCE)).result == 8
                    worker.drain()
    finally:
        server.resume()
