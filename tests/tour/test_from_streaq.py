"""The programs of from-streaq.md, in which nothing but the import is changed, on real servers and both loops."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from secure_queue.local.node import LOOPBACK
from secure_queue.settings import KEYS_VARIABLE
from tests.servers import PATIENCE, Server
from tests.tour.blocks import ROOT, Block, blocks_of
from tests.tour.test_guide import PROMISE, SECRET, name

PAGE = ROOT / "docs" / "from-streaq.md"
PROGRAMS = [block for block in blocks_of(PAGE) if block.language == "py"]
LOOPS: dict[str, dict[str, Any]] = {"asyncio": {"use_uvloop": True}, "trio": {}}
THEIRS, OURS = "from streaq import", "from secure_queue import"


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("block", PROGRAMS, ids=name)
def test_changing_the_import_is_enough(
    block: Block,
    loop: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, SECRET)
    assert block.text.count("streaq") == 1
    text = at_our_servers(block.text.replace(THEIRS, OURS), request)
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile("\n" * (block.line - 1) + text, str(tmp_path / "app.py"), "exec"), names)
    anyio.run(run, names["worker"], names["main"], backend=loop, backend_options=LOOPS[loop])
    assert capsys.readouterr().out.splitlines() == PROMISE.findall(block.text)


def at_our_servers(text: str, request: pytest.FixtureRequest) -> str:
    """The same program with the addresses of the suite in the place of those that it names."""
    if "sentinel_nodes=" in text:
        nodes = request.getfixturevalue("real_sentinels").sentinels
    elif "cluster_nodes=" in text:
        nodes = request.getfixturevalue("real_cluster").nodes
    else:
        server: Server = request.getfixturevalue("real_server")
        server.command("FLUSHALL")
        return text.replace("redis://localhost:6379", f"unix://{server.unix_path}")
    ports = iter(nodes)
    return re.sub(r'\("localhost", \d+\)', lambda _: repr((LOOPBACK, next(ports).port)), text)


async def run(worker: Any, main: Any) -> None:
    with anyio.fail_after(PATIENCE):
        async with worker, anyio.create_task_group() as group:
            await group.start(worker.run_async)
            await main()
            worker.drain()


def test_the_page_has_a_program_for_every_chapter_of_the_page_of_streaq() -> None:
    text = " ".join(block.text for block in PROGRAMS)
    spelled = set(re.findall(r"\b(\w+)=", text)) | set(re.findall(r"\.(\w+)\(", text))
    promised = {
        *("redis_pool", "sentinel_master", "sentinel_nodes", "cluster_nodes", "health_crontab", "unschedule_by_id"),
        *("lifespan", "serializer", "deserializer", "signing_secret", "redis_url", "redis_kwargs", "concurrency"),
        *("sync_concurrency", "queue_name", "priorities", "prefetch", "tz", "handle_signals", "idle_timeout"),
        *("grace_period", "anyio_backend", "anyio_kwargs", "sentinel_kwargs", "id", "include", "enqueue_unsafe"),
        *("status_by_id", "result_by_id", "info_by_id", "abort_by_id", "unschedule", "get_tasks_by_status"),
    }
    assert promised <= spelled
