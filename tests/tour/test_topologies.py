"""The pages about Sentinel and Cluster, followed word for word: servers, worker, producer, and a killed primary.

Only the folder and the ports are those of this test, so that two runs do not meet.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from secure_queue.local.node import _free_port
from secure_queue.payload.keys import format_key, generate_key
from secure_queue.redis.slots import slot_of
from tests.servers import PATIENCE, server_binary, wait_until
from tests.tour.blocks import ROOT, Block, blocks_of, missing_targets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PAGES = ["sentinel", "cluster"]
A_FEW = 5
SECURE_QUEUE = [sys.executable, "-W", "error", "-m", "secure_queue"]
HOLDS_THE_QUEUE = {"sentinel": 0, "cluster": slot_of(b"hello/0") * 3 // 16_384}  # the number of the node


def page(name: str) -> Path:
    return ROOT / "docs" / f"{name}.md"


def block(name: str, language: str, containing: str) -> Block:
    [found] = [one for one in blocks_of(page(name)) if one.language == language and containing in one.text]
    return found


@contextmanager
def started(words: list[str], place: Path, log: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    with (place / log).open("wb") as output:
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
        process = subprocess.Popen(words, cwd=place, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def results_at(port: int) -> int:
    """How many tasks have run, as the server that holds the queue says."""
    client: Any = redis.Redis(port=port, protocol=2, socket_timeout=PATIENCE)
    try:
        return int(client.zcard("sq:{hello/0}:results"))
    finally:
        client.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_killed_primary_loses_nothing_when_the_page_is_followed(name: str, tmp_path: Path) -> None:
    [up] = block(name, "console", f"up {name}").commands
    run_worker, run_producer = block(name, "console", "run app:worker").commands
    [promise] = block(name, "console", "run app:worker").printed
    (tmp_path / "app.py").write_text(block(name, "python", "async def main").text)
    words = [*SECURE_QUEUE, *up.replace(f"/tmp/hello-{name}", str(tmp_path / "kept")).split()[1:]]
    ports = ",".join(str(_free_port()) for _ in range(6))
    with ExitStack() as stack:
        more = ["--binary", str(server_binary()), "--port", ports, "--json"]
        stack.enter_context(started([*words, *more], tmp_path, "servers"))
        wait_until(lambda: (tmp_path / "servers").read_text().count("\n"), patience=3 * PATIENCE)
        said = json.loads((tmp_path / "servers").read_text().splitlines()[0])
        variables = {"SECURE_QUEUE_URL": said["url"], "SECURE_QUEUE_KEYS": format_key(generate_key("tour"))}
        stack.enter_context(started([*SECURE_QUEUE, *run_worker.split()[1:]], tmp_path, "worker", **variables))
        code = re.findall(r'"(.*)"', run_producer)[0]
        producer = stack.enter_context(started([sys.executable, "-c", code], tmp_path, "producer", **variables))
        holder = said["nodes"][HOLDS_THE_QUEUE[name]]
        wait_until(lambda: results_at(holder["port"]) >= A_FEW, patience=3 * PATIENCE)
        os.kill(holder["pid"], signal.SIGKILL)
        assert producer.wait(4 * PATIENCE) == 0, (tmp_path / "producer").read_text()
        assert (tmp_path / "producer").read_text().splitlines()[-1] == promise
        assert "the primary is now" in (tmp_path / "worker").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    assert missing_targets(page(name)) == []
